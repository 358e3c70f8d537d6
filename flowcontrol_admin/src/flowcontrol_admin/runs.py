"""The list of runs: what it shows, and the addresses of their pages."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.clock import clock
from flowcontrol.health import is_overdue, is_without_worker
from flowcontrol.models import MOST_FOUND, Flow, FlowRun, Status
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


@admin.display(description=_("run"), ordering="id")
def shown_run(run: Any) -> str:
    address = url("flowrun_change", run.pk)
    link = format_html('<a href="{}">{} #{}</a>', address, run.flow.name, run.pk)
    # Not to be sorted by: the order would tell of objects that the user may not view.
    return _with_more(link, str(run.shown_object))


@admin.display(description=_("status"), ordering="status")
def shown_status(run: Any) -> str:
    late = badge("warning", gettext("overdue")) if run.shown_late else ""
    return format_html("{} {}", run_badge(run.status, run.outcome), late)


@admin.display(description=_("at step, and why"))
def shown_step(run: Any) -> str:
    return _with_more(str(run.shown_where), Truncator(run.shown_why).chars(MOST_WHY))


@admin.display(description=_("since"), ordering="since")
def shown_since(run: Any) -> str:
    more = ""
    if run.status == Status.DONE and run.shown_length:
        more = gettext("took %(length)s") % {"length": run.shown_length}
    elif run.due_at and not run.shown_late:
        due = show_distance(run.due_at, run.shown_now)
        more = gettext("next check %(distance)s") % {"distance": due}
    return _with_more(distance(run.since, run.shown_now), more)


def _with_more(text: str, more: str) -> str:
    """Return the text of a cell with a second one under it, where there is one."""
    if not more:
        return text
    return format_html('{} <span class="fc-under">{}</span>', text, more)


def context() -> dict[str, Any]:
    """Return what the page of the list shows beside the list."""
    return {"no_worker": is_without_worker()}


def searched(model_admin: Any, request: HttpRequest, runs: QuerySet[FlowRun], term: str) -> Any:
    """Return those of the runs that a term finds; a hit must not tell of a hidden object."""
    found: Any = runs
    return found.search(term, ObjectRights(request, model_admin.admin_site).may_search)


def may_view(user: Any) -> bool:
    """Return whether a user may view the list."""
    return may(user, VIEW_RUN)


def require_keys(selected: list[str]) -> None:
    """Refuse a selection that is not one of runs."""
    if not all(map(is_key, selected)):
        raise BadRequest(gettext("What was selected are not runs."))


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of the pages about runs."""
    return patterns(model_admin, RUN_ROUTES)


LIST = RunList
ACTIONS_OF = bulk_actions
PAGINATOR = FirstRuns
FILTERS = (
    AttentionFilter, StatusFilter, OutcomeFilter, LiveFilter, OverdueFilter, FlowFilter,
    ObjectTypeFilter, ObjectFilter, StepFilter, ErrorFilter,
)  # fmt: skip
COLUMNS = (shown_run, shown_status, shown_step, shown_since)
