"""For the admin of any model: its objects start flows, and lead to their runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import select_template
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.models import FlowRun
from flowcontrol_admin.bulk_starts import ObjectPage, may_start, start_for_many, start_for_one
from flowcontrol_admin.pages import VIEW_RUN, may, run_list_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

#: No more runs than this are counted for the page of an object.
MOST_COUNTED = 1_000
ACTION = "start_flow"


class FlowAdminMixin(_ModelAdmin):
    """Stands before ``ModelAdmin``: "Start flow…" in its list, and its runs on each object's page.

    The action of the list starts one of the active, published flows about the model. Both are
    offered to those who may view and start flows; the runs to those who may view runs.
    """

    def get_actions(self, request: HttpRequest, *location: Any, **options: Any) -> Any:
        actions = super().get_actions(request, *location, **options)
        # From Django 6.1 on, it is asked for the page of one object too.
        is_for_one = any(
            getattr(one, "name", "") == "CHANGE_FORM" for one in (*location, *options.values())
        )
        if is_for_one or IS_POPUP_VAR in request.GET or not may_start(request.user):
            return actions
        return {**actions, ACTION: (_start_for_many, ACTION, _("Start flow…"))}

    def get_urls(self) -> list[Any]:
        meta = self.model._meta
        name = f"{meta.app_label}_{meta.model_name}_{ACTION}"
        view = self.admin_site.admin_view(partial(_start_for_one, self))
        return [path("<path:object_id>/start-flow/", view, name=name), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().render_change_form(request, *args, **kwargs)
        obj = kwargs.get("obj") or (args[4] if len(args) > len(_BEFORE_OBJ) else None)
        if obj is not None and isinstance(response, TemplateResponse):
            _add_tools(ObjectPage(request, self, subject=obj), response, obj)
        return response


#: The arguments of ``render_change_form`` before the object.
_BEFORE_OBJ = ("context", "add", "change", "form_url")


def _start_for_many(
    model_admin: Any, request: HttpRequest, chosen: QuerySet[Any]
) -> HttpResponse | None:
    if not may_start(request.user):
        raise PermissionDenied
    return start_for_many(ObjectPage(request, model_admin), chosen)


def _start_for_one(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    obj = model_admin.get_object(request, unquote(object_id))
    if obj is None:
        raise Http404(gettext("It does not exist, or no longer."))
    page = ObjectPage(request, model_admin, subject=obj)
    if not may_start(request.user) or not page.objects.may_view(obj):
        raise PermissionDenied
    return start_for_one(page, obj)


def _add_tools(page: ObjectPage, response: TemplateResponse, obj: Model) -> None:
    """Add the links to a page of an object, whichever template it has."""
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
