"""For the admin of any model: its objects start flows, and lead to their runs."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

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
        if is_for_one or IS_POPUP_VAR in request.GET or not _pages().may_start(request.user):
            return actions
        return {**actions, ACTION: (_pages().show_start_of_many, ACTION, _("Start flow…"))}

    def get_urls(self) -> list[Any]:
        meta = self.model._meta
        name = f"{meta.app_label}_{meta.model_name}_{ACTION}"
        view = self.admin_site.admin_view(partial(_start_for_one, self))
        return [path("<path:object_id>/start-flow/", view, name=name), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().render_change_form(request, *args, **kwargs)
        obj = kwargs.get("obj") or (args[4] if len(args) > len(_BEFORE_OBJ) else None)
        if obj is not None and isinstance(response, TemplateResponse):
            _pages().add_tools(self, request, response, obj)
        return response


#: The arguments of ``render_change_form`` before the object.
_BEFORE_OBJ = ("context", "add", "change", "form_url")


def _pages() -> ModuleType:
    """Return what the mixin shows, imported when a page asks: every process imports admins."""
    return import_module("flowcontrol_admin.object_pages")


def _start_for_one(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    response: HttpResponse = _pages().show_start(model_admin, request, object_id)
    return response
