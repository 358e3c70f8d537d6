"""The operator actions on one run and on many: a page asks for the reason, then it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext

from flowcontrol import flows, runs
from flowcontrol.errors import FlowcontrolError
from flowcontrol.models import BulkOperation, FlowRun, Status
from flowcontrol.runs import OPERATOR_ACTIONS, OperatorAction, RunInfo, refusal_text
from flowcontrol_admin.operator_forms import OperatorForm, form_for_run, form_for_runs
from flowcontrol_admin.pages import Page, may
from flowcontrol_admin.run_texts import where

#: More runs than this are left to the sweeps, and at most this many: their keys are stored.
MOST_AT_ONCE = 100
MOST_IN_BULK = 10_000
_CONFIRMED = "confirmed"


def possible_actions(page: Page, run: FlowRun) -> list[OperatorAction]:
    """Return the actions that the user may do, and that are possible for a run as it stands."""
    actions = OPERATOR_ACTIONS.values()
    return [one for one in actions if page.may(one.permission) and not one.refusal(run)]


def operate(page: Page, run: FlowRun, slug: str) -> HttpResponse:
    """Ask for the arguments and the reason, and do an action; show why it is not possible."""
    action = next((one for one in OPERATOR_ACTIONS.values() if one.slug == slug), None)
    if action is None:
        raise Http404(gettext("This action does not exist."))
    if not page.may(action.permission) or run.pk not in page.objects.visible([run]):
        raise PermissionDenied
    form = form_for_run(page.data, action, run)
    why = action.refusal(run)
    refused = gettext("This is not possible: %(why)s.") % {"why": why} if why else ""
    if page.is_post and form.is_valid():
        try:
            after = _perform(page, action, run, form)
        except FlowcontrolError as error:
            refused = str(error)
        else:
            page.notify(_success(action, after))
            return page.redirect("flowrun_change", after.pk)
    return _ask(
        page,
        "operate.html",
        action,
        form,
        refused=refused,
        at_step=where(run, flows.find_step(run, flows.documents_of([run]))),
        status=409 if refused else 200,
    )


def _perform(page: Page, action: OperatorAction, run: FlowRun, form: OperatorForm) -> RunInfo:
    given = {**form.arguments(), "by": page.user, "reason": form.cleaned_data["reason"]}
    after: RunInfo = runs.operator_function(action.name)(run, **given)
    return after


def _success(action: OperatorAction, after: RunInfo) -> str:
    if after.status == Status.RUNNING:
        return gettext("A worker is executing the run; it will do so at the next checkpoint.")
    return str(action.success)


def _ask(
    page: Page, template: str, action: OperatorAction, form: OperatorForm, **context: Any
) -> HttpResponse:
    return page.render(
        template,
        title=action.label,
        action=action,
        form=form,
        submit=action.label,
        is_grave=action.is_grave,
        **context,
    )


def bulk_actions(user: Any) -> dict[str, tuple[Any, str, Any]]:
    """Return the actions of the list of runs as Django wants them, those that a user may do."""
    return {
        name: (partial(_operate_many, action), name, action.label)
        for action in OPERATOR_ACTIONS.values()
        if may(user, action.permission)
        for name in [f"{action.name}_runs"]
    }


def _operate_many(
    action: OperatorAction, admin: Any, request: HttpRequest, chosen: QuerySet[FlowRun]
) -> HttpResponse | None:
    """Ask for the arguments and the reason; then do it to the chosen runs, or let the sweeps."""
    page = Page(request, admin)
    count = chosen.order_by().count()
    if count > MOST_IN_BULK:
        text = gettext("More than %(n)d runs are selected; nothing was done. Filter the list.")
        page.notify(text % {"n": MOST_IN_BULK}, messages.ERROR)
        return None
    is_confirmed = _CONFIRMED in request.POST
    form = form_for_runs(request.POST if is_confirmed else None, action, chosen)
    if not is_confirmed or not form.is_valid():
        return _ask_many(page, action, form, count)
    keys = _visible(page, chosen)
    given: dict[str, Any] = {
        "arguments": form.arguments(),
        "by": page.user,
        "reason": form.cleaned_data["reason"],
    }
    if len(keys) > MOST_AT_ONCE:
        operation = runs.start_bulk_operation(action.name, {"pk__in": keys}, **given)
        _tell_started(page, action, len(keys))
        _tell_hidden(page, count - len(keys))
        return page.redirect("flowrun_operation", operation.pk)
    _tell_result(page, action, runs.perform_on_each(action.name, keys, **given))
    _tell_hidden(page, count - len(keys))
    return None


def _visible(page: Page, chosen: QuerySet[FlowRun]) -> list[int]:
    """Return the keys of those runs whose objects the user may view."""
    named = (
        chosen.order_by("pk")
        .prefetch_related(None)
        .only("object_type", "object_database", "object_key")
    )
    found = list(named[:MOST_IN_BULK])
    visible: set[int] = set()
    for start in range(0, len(found), MOST_AT_ONCE):
        visible |= page.objects.visible(found[start : start + MOST_AT_ONCE])
    return sorted(visible)


def _tell_hidden(page: Page, count: int) -> None:
    if count > 0:
        text = ngettext(
            "%(n)d run was left unchanged: you may not view its object.",
            "%(n)d runs were left unchanged: you may not view their objects.",
            count,
        )
        page.notify(text % {"n": count}, messages.WARNING)


def _ask_many(page: Page, action: OperatorAction, form: OperatorForm, count: int) -> HttpResponse:
    posted = page.request.POST
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "index")
    chosen = [(name, value) for name in names for value in posted.getlist(name)]
    return _ask(
        page,
        "operate_many.html",
        action,
        form,
        count=count,
        chosen=[*chosen, (_CONFIRMED, "1")],
        back=page.request.get_full_path(),
    )


def _tell_started(page: Page, action: OperatorAction, count: int) -> None:
    text = gettext("%(action)s: the workers do this to %(n)d runs in chunks.")
    page.notify(text % {"action": action.label, "n": count})


def _tell_result(page: Page, action: OperatorAction, result: BulkOperation) -> None:
    if result.done:
        text = ngettext(
            "%(action)s: done for %(n)d run.", "%(action)s: done for %(n)d runs.", result.done
        )
        page.notify(text % {"action": action.label, "n": result.done})
    if result.refused:
        text = ngettext(
            "%(n)d run was left unchanged: %(why)s",
            "%(n)d runs were left unchanged: %(why)s",
            result.refused,
        )
        why = "; ".join(refusals(result))
        page.notify(text % {"n": result.refused, "why": why}, messages.WARNING)


def refusals(operation: BulkOperation) -> Iterator[str]:
    """Yield why runs were refused, each with the number of runs."""
    counts: Counter[str] = Counter()
    for refusal in operation.refusals:
        counts[refusal_text(operation, refusal)] += refusal.get("count", 1)
    yield from (f"{why}: {count}" for why, count in counts.items())
