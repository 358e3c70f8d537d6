"""The page of one bulk operation: how far it is, what was refused, and how to stop it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.translation import gettext

from flowcontrol import runs
from flowcontrol.errors import FlowcontrolError
from flowcontrol.health import is_without_worker
from flowcontrol.models import BulkOperation
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol_admin.operator_actions import refusals
from flowcontrol_admin.pages import START_FLOW, Page, may, url


def show_operation(page: Page, number: int) -> HttpResponse:
    """Show how far a bulk operation is; while it is not finished, the page asks again."""
    operation = _find(number)
    action = OPERATOR_ACTIONS.get(operation.operator_action)
    name = str(action.label) if action else gettext("Start a flow")
    is_finished = operation.finished_at is not None
    shown: dict[str, Any] = {
        "operation": operation,
        "is_finished": is_finished,
        "flow_key": operation.arguments.get("flow", "") if operation.is_start else "",
        "refusals": list(refusals(operation)),
        "may_stop": not is_finished and may(page.user, _permission(operation)),
        "no_worker": not is_finished and is_without_worker(),
        "stop": url("flowrun_operation_stop", number),
        "back": page.home(),
    }
    if page.is_poll:
        return page.part("operation_live.html", **shown)
    return page.render(
        "operation.html",
        title=gettext("Bulk operation %(number)d: %(action)s") % {"number": number, "action": name},
        crumb=gettext("Bulk operation %(number)d") % {"number": number},
        **shown,
    )


def stop_operation(page: Page, number: int) -> HttpResponse:
    """Stop a bulk operation; what is done stays done."""
    if not may(page.user, _permission(_find(number))):
        raise PermissionDenied
    try:
        runs.stop_bulk_operation(number, by=page.user)
    except FlowcontrolError as error:
        page.notify(str(error), messages.WARNING)
    else:
        page.notify(gettext("The bulk operation was stopped. What it has done stays done."))
    return page.redirect("flowrun_operation", number)


def _find(number: int) -> BulkOperation:
    found = BulkOperation.objects.filter(pk=number).first()
    if found is None:
        raise Http404(gettext("This bulk operation does not exist, or no longer."))
    return found


def _permission(operation: BulkOperation) -> str:
    """Return the permission that an operation asks for, to be stopped too."""
    action = OPERATOR_ACTIONS.get(operation.operator_action)
    return action.permission if action else START_FLOW
