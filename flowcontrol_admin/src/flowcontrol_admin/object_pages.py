"""What ``FlowAdminMixin`` adds to the admin of a model: its objects start flows, and have runs."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import select_template
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from flowcontrol.models import FlowRun
from flowcontrol_admin.bulk_starts import ObjectPage, may_start, start_for_many, start_for_one
from flowcontrol_admin.mixins import ACTION
from flowcontrol_admin.pages import VIEW_RUN, may, run_list_of

#: No more runs than this are counted for the page of an object.
MOST_COUNTED = 1_000


def show_start_of_many(
    model_admin: Any, request: HttpRequest, chosen: QuerySet[Any]
) -> HttpResponse | None:
    """Start a flow about each of the chosen objects."""
    if not may_start(request.user):
        raise PermissionDenied
    return start_for_many(ObjectPage(request, model_admin), chosen)


def show_start(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Start a flow about one object."""
    obj = model_admin.get_object(request, unquote(object_id))
    if obj is None:
        raise Http404(gettext("It does not exist, or no longer."))
    page = ObjectPage(request, model_admin, subject=obj)
    if not may_start(request.user) or not page.objects.may_view(obj):
        raise PermissionDenied
    return start_for_one(page, obj)


def add_tools(
    model_admin: Any, request: HttpRequest, response: TemplateResponse, obj: Model
) -> None:
    """Add the links to a page of an object, whichever template it has."""
    page = ObjectPage(request, model_admin, subject=obj)
    user, own = page.user, response.template_name
    names = [own] if isinstance(own, str) else own
    runs: Any = FlowRun.objects
    shows_runs = may(user, VIEW_RUN) and page.objects.may_view(obj)
    count = runs.for_object(obj).order_by()[: MOST_COUNTED + 1].count() if shows_runs else 0
    response.context_data = {
        **(response.context_data or {}),
        "flowcontrol_page": select_template(names) if isinstance(names, list | tuple) else own,
        "flowcontrol_runs": run_list_of(obj) if shows_runs else "",
        "flowcontrol_count": f"{MOST_COUNTED}+" if count > MOST_COUNTED else str(count),
        "flowcontrol_start": page.address(ACTION, page.quoted) if may_start(user) else "",
    }
    response.template_name = "flowcontrol_admin/object_tools.html"
