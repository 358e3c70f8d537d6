"""The list of runs and what can be done to many of them; the page of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol_admin.badges import flag, run_badge
from flowcontrol_admin.pages import (
    OPERATE_RUN,
    READING,
    VIEW_RUN,
    Page,
    Route,
    may,
    patterns,
    url,
)
from flowcontrol_admin.run_actions import operate
from flowcontrol_admin.run_bulk import bulk_actions
from flowcontrol_admin.run_filters import (
    FlowFilter,
    LiveFilter,
    ObjectTypeFilter,
    OverdueFilter,
    StepFilter,
)
from flowcontrol_admin.run_page import show_run
from flowcontrol_admin.run_words import duration, where
from flowcontrol_core.flows.overview import documents_of, find_step
from flowcontrol_core.health import is_nobody_sweeping, is_overdue
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.store.clock import clock

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[FlowRun]
    _Paginator = Paginator[FlowRun]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator

MOST_LISTED = 10_000


class FirstRuns(_Paginator):
    """Shows the first of many runs, and counts no further: there may be millions."""

    @cached_property
    def count(self) -> int:
        runs: Any = self.object_list
        return int(runs.order_by()[:MOST_LISTED].count())


class RunList(ChangeList):
    """Finds the present steps of all shown runs with one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.most = MOST_LISTED if self.result_count == MOST_LISTED else None
        runs: list[Any] = list(self.result_list)
        documents = documents_of(runs)
        now = clock().now()
        for run in runs:
            run.shown_where = where(run, find_step(run, documents))
            run.shown_late = is_overdue(run, now)
            run.shown_length = duration(run, now)
        self.result_list = runs


class FlowRunAdmin(_ModelAdmin):
    """Runs are looked at here, and changed through the verbs only."""

    list_display = (
        "shown_run", "shown_flow", "object_text", "shown_status", "shown_step", "since",
        "shown_next", "started_at", "shown_duration",
    )  # fmt: skip
    list_filter = (
        "status", "outcome", LiveFilter, OverdueFilter, FlowFilter, ObjectTypeFilter, StepFilter,
    )  # fmt: skip
    search_fields = ("object_text", "=object_key", "uuid")
    search_help_text = _("The object's text, its key, or the run's UUID.")
    list_select_related = ("flow",)
    list_display_links = None
    list_per_page = 100
    show_full_result_count = False
    paginator = FirstRuns
    actions = tuple(bulk_actions())
    change_list_template = "flowcontrol_admin/flowrun/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_queryset(self, request: HttpRequest) -> QuerySet[FlowRun]:
        # What the list does not show may be large.
        return super().get_queryset(request).defer("state", "payload", "events_taken")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, VIEW_RUN)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for the actions."""
        return may(request.user, OPERATE_RUN)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = {"nobody_sweeps": is_nobody_sweeping(), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=_("run"), ordering="id")
    def shown_run(self, run: FlowRun) -> str:
        return format_html('<a href="{}">#{}</a>', url("flowrun_change", run.pk), run.pk)

    @admin.display(description=_("flow"), ordering="flow__name")
    def shown_flow(self, run: FlowRun) -> str:
        return format_html('<a href="{}">{}</a>', url("flow_editor", run.flow_id), run.flow.name)

    @admin.display(description=_("status"), ordering="status")
    def shown_status(self, run: FlowRun) -> str:
        return run_badge(run.status, run.outcome)

    @admin.display(description=_("step"))
    def shown_step(self, run: Any) -> str:
        return str(run.shown_where) or "-"

    @admin.display(description=_("next look"), ordering="due_at")
    def shown_next(self, run: Any) -> Any:
        if run.shown_late:
            return flag("warning", say("overdue"))
        return run.due_at

    @admin.display(description=_("duration"))
    def shown_duration(self, run: Any) -> str:
        return str(run.shown_length) or "-"

    def get_urls(self) -> list[Any]:
        return patterns(self, ROUTES)


def show_list(page: Page) -> HttpResponseBase:
    """The list of runs, and its actions."""
    return page.admin.changelist_view(page.request)


ANY = (*READING, "POST")
ROUTES = [
    # The actions ask for their own permission.
    Route(path="", name="flowrun_changelist", view=show_list, needs=(VIEW_RUN,), methods=ANY),
    Route(path="<int:pk>/change/", name="flowrun_change", view=show_run, needs=(VIEW_RUN,)),
    Route(
        path="<int:pk>/<slug:verb>/",
        name="flowrun_operate",
        view=operate,
        needs=(VIEW_RUN, OPERATE_RUN),
        methods=ANY,
    ),
]
