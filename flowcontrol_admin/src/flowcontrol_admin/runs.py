"""The list of runs and what can be done to many of them; the page of one run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import Truncator, format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.clock import clock
from flowcontrol.health import is_overdue, is_without_worker
from flowcontrol.models import MOST_FOUND, MOST_READ, Flow, FlowRun, Status
from flowcontrol.redaction import HIDDEN
from flowcontrol_admin.attention import first_needing_attention
from flowcontrol_admin.filters import (
    AttentionFilter,
    ErrorFilter,
    FlowFilter,
    LiveFilter,
    ObjectFilter,
    ObjectTypeFilter,
    OutcomeFilter,
    OverdueFilter,
    StatusFilter,
    StepFilter,
    is_key,
)
from flowcontrol_admin.lists import ClosedList
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_admin.operator_actions import bulk_actions
from flowcontrol_admin.pages import VIEW_RUN, may, patterns, url
from flowcontrol_admin.routes import RUN_ROUTES
from flowcontrol_admin.run_texts import duration, label_in, show_distance, where
from flowcontrol_admin.templatetags.flowcontrol_badges import badge, run_badge
from flowcontrol_admin.templatetags.flowcontrol_times import distance
from flowcontrol_core.document.tree import Document

if TYPE_CHECKING:
    _Paginator = Paginator[FlowRun]
else:
    _Paginator = Paginator

MOST_LISTED = 10_000
#: At most this many runs that need attention come before the others.
MOST_FIRST = 20
#: The list shows this many characters of a reason.
MOST_WHY = 140


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
        most = MOST_FOUND if self.query else MOST_LISTED
        self.most = most if self.result_count == most else None
        listed: list[Any] = list(self.result_list)
        first = self._needing_attention(request)
        self.attention, self.most_first = len(first), MOST_FIRST
        # Asked for nothing else, the list begins with what a person has to deal with.
        is_plain = not self.params and self.page_num == 1
        runs = list(dict.fromkeys([*first, *listed])) if is_plain else listed
        documents = flows.documents_of(runs)
        now, known = clock().now(), self._flows()
        visible = ObjectRights(request, self.model_admin.admin_site).visible(runs)
        for run in runs:
            if run.flow_id in known:
                run.flow = known[run.flow_id]
            self._describe(run, documents, now, is_visible=run.pk in visible)
        self.result_list = runs

    def _needing_attention(self, request: HttpRequest) -> list[Any]:
        runs = self.model_admin.get_queryset(request).order_by()
        return first_needing_attention(runs, MOST_FIRST)[:MOST_FIRST]

    def _flows(self) -> dict[int, Flow]:
        """Return the flows, which their filter has read."""
        return next(one.flows for one in self.filter_specs if isinstance(one, FlowFilter))

    @staticmethod
    def _describe(run: Any, documents: Any, now: datetime, *, is_visible: bool) -> None:
        """Note what the columns show."""
        document = documents.get(run.version_id) or Document()
        run.shown_now = now
        run.shown_object = run.object_text if is_visible else HIDDEN
        run.shown_where = where(run, flows.find_step(run, documents))
        run.shown_why = run.explanation.describe(label_in(document)) if is_visible else ""
        run.shown_late = is_overdue(run, now)
        run.shown_length = duration(run, now)


class FlowRunAdmin(ClosedList):
    """Runs: read here, and changed through operator actions only."""

    list_display = ("shown_run", "shown_status", "shown_step", "shown_since")
    list_filter = (
        AttentionFilter, StatusFilter, OutcomeFilter, LiveFilter, OverdueFilter, FlowFilter,
        ObjectTypeFilter, ObjectFilter, StepFilter, ErrorFilter,
    )  # fmt: skip
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
    paginator = FirstRuns
    change_list_template = "flowcontrol_admin/flowrun/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_queryset(self, request: HttpRequest) -> QuerySet[FlowRun]:
        # What the list does not show may be large. The flows are not joined: MariaDB begins with
        # them, and sorts all runs.
        return super().get_queryset(request).defer("state", "payload", "events_taken")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FlowRun], search_term: str
    ) -> tuple[QuerySet[FlowRun], bool]:
        if not search_term:
            return queryset, False
        found: Any = queryset
        return found.search(search_term, ObjectRights(request, self.admin_site).may_search), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, VIEW_RUN)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        # From Django 6.1 on, it is asked for the page of one object too.
        is_for_one = getattr(action_location, "name", "") == "CHANGE_FORM"
        return {} if is_for_one else bulk_actions(request.user)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[FlowRun], *location: Any, **options: Any
    ) -> Any:
        if not all(map(is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest(gettext("What was selected are not runs."))
        # From Django 6.1 on, it is told where the action was chosen.
        return super().response_action(request, queryset, *location, **options)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = {"no_worker": is_without_worker(), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=_("run"), ordering="id")
    def shown_run(self, run: Any) -> str:
        address = url("flowrun_change", run.pk)
        link = format_html('<a href="{}">{} #{}</a>', address, run.flow.name, run.pk)
        # Not to be sorted by: the order would tell of objects that the user may not view.
        return _with_more(link, str(run.shown_object))

    @admin.display(description=_("status"), ordering="status")
    def shown_status(self, run: Any) -> str:
        late = badge("warning", gettext("overdue")) if run.shown_late else ""
        return format_html("{} {}", run_badge(run.status, run.outcome), late)

    @admin.display(description=_("at step, and why"))
    def shown_step(self, run: Any) -> str:
        return _with_more(str(run.shown_where), Truncator(run.shown_why).chars(MOST_WHY))

    @admin.display(description=_("since"), ordering="since")
    def shown_since(self, run: Any) -> str:
        more = ""
        if run.status == Status.DONE and run.shown_length:
            more = gettext("took %(length)s") % {"length": run.shown_length}
        elif run.due_at and not run.shown_late:
            due = show_distance(run.due_at, run.shown_now)
            more = gettext("next check %(distance)s") % {"distance": due}
        return _with_more(distance(run.since, run.shown_now), more)

    def get_urls(self) -> list[Any]:
        return patterns(self, RUN_ROUTES)


def _with_more(text: str, more: str) -> str:
    """Return the text of a cell with a second one under it, where there is one."""
    if not more:
        return text
    return format_html('{} <span class="fc-under">{}</span>', text, more)
