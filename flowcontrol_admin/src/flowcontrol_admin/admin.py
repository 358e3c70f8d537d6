"""What Django's autodiscovery imports, in every process: the model admins, and no page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.models import MOST_READ, Flow, FlowRun
from flowcontrol_admin.lists import ClosedList


@admin.register(Flow)
class FlowAdmin(ClosedList):
    """Flows: everything about one of them is on its own pages."""

    page_name = "flowcontrol_admin.flows"
    search_fields = ("name", "key", "description")
    ordering = ("name", "id")
    # The name links to the editor by itself.
    list_display_links = None
    list_per_page = 100
    actions = None
    change_list_template = "flowcontrol_admin/flow/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flow]:
        return flows.with_facts(super().get_queryset(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        # Django's title is a sentence, which in German reaches below the buttons beside it.
        title = capfirst(str(self.opts.verbose_name_plural))
        context = {"title": title, **self.page.context(request.user), **(extra_context or {})}
        return super().changelist_view(request, context)


@admin.register(FlowRun)
class FlowRunAdmin(ClosedList):
    """Runs: read here, and changed through operator actions only."""

    page_name = "flowcontrol_admin.runs"
    # For Django, which shows a search where there are any: ``FlowRun.objects.search`` does it.
    search_fields = ("id", "uuid", "object_key", "flow__key", "flow__name", "object_text")
    search_help_text = format_lazy(
        _(
            "A run's number, or its UUID or the beginning of it (8 digits or more); the key of its "
            "object, or the beginning of it; the key or name of its flow. If none of these fits, "
            "words of the object's text, among the newest {read} runs."
        ),
        read=MOST_READ,
    )
    list_display_links = None
    list_per_page = 100
    change_list_template = "flowcontrol_admin/flowrun/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Paginator[Any]:
        found: Paginator[Any] = self.page.PAGINATOR(*args, **kwargs)
        return found

    def get_queryset(self, request: HttpRequest) -> QuerySet[FlowRun]:
        # What the list does not show may be large. The flows are not joined: MariaDB begins with
        # them, and sorts all runs.
        return super().get_queryset(request).defer("state", "payload", "events_taken")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FlowRun], search_term: str
    ) -> tuple[QuerySet[FlowRun], bool]:
        if not search_term:
            return queryset, False
        return self.page.searched(self, request, queryset, search_term), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.page.may_view(request.user))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        # From Django 6.1 on, it is asked for the page of one object too.
        is_for_one = getattr(action_location, "name", "") == "CHANGE_FORM"
        return {} if is_for_one else self.page.ACTIONS_OF(request.user)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[FlowRun], *location: Any, **options: Any
    ) -> Any:
        self.page.require_keys(request.POST.getlist(ACTION_CHECKBOX_NAME))
        # From Django 6.1 on, it is told where the action was chosen.
        return super().response_action(request, queryset, *location, **options)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().changelist_view(request, {**self.page.context(), **(extra_context or {})})
