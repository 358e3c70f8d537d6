"""The questions about many flows at once, each answered by one query."""

from __future__ import annotations

from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    Count,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from flowcontrol_core.models import LIVE, Flow, FlowRun, FlowVersion


def count_name(status: str) -> str:
    """Name the column of ``with_facts`` that counts the runs of a status."""
    return f"runs_{status}"


def with_facts(flows: QuerySet[Flow]) -> QuerySet[Flow]:
    """Add what a list of flows shows.

    ``runs_<status>`` for each status of live runs, ``last_run`` (a time), ``version_number`` of
    the published version, and ``has_changes``: whether there is something to publish.
    """
    counts: dict[str, Any] = {count_name(status): _count(status) for status in LIVE}
    runs = FlowRun.objects.filter(flow=OuterRef("pk")).order_by("-id")
    return flows.annotate(
        **counts,
        last_run=Subquery(runs.values("created_at")[:1]),
        version_number=F("published__number"),
        has_changes=Case(
            When(_CHANGED, then=Value(True)),  # noqa: FBT003
            default=Value(False),  # noqa: FBT003
            output_field=BooleanField(),
        ),
    )


def versions_with_runs(flow: Flow) -> QuerySet[FlowVersion]:
    """Give the versions of a flow, the newest first, with ``live_runs`` and without documents."""
    live = FlowRun.objects.filter(version=OuterRef("pk"), status__in=LIVE).order_by()
    counted = live.values("version").annotate(number=Count("pk")).values("number")
    versions = FlowVersion.objects.filter(flow=flow).select_related("author").defer("definition")
    return versions.annotate(
        live_runs=Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    ).order_by("-number")


_CHANGED = Q(draft__isnull=False) & (
    Q(published__isnull=True) | ~Q(draft__digest=F("published__digest"))
)


def _count(status: str) -> Coalesce:
    runs = FlowRun.objects.filter(flow=OuterRef("pk"), status=status).order_by()
    counted = runs.values("flow").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
