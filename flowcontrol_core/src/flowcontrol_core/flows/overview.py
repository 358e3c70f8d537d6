"""The questions about many flows at once, each answered by one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import models, router
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, Coalesce

from flowcontrol_core.document.format import STEP_ID
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.flows.drafts import get_document
from flowcontrol_core.models import (
    LIVE,
    Flow,
    FlowRun,
    FlowTrigger,
    FlowVersion,
    SkippedFiring,
    Status,
)


def with_facts(flows: QuerySet[Flow]) -> QuerySet[Flow]:
    """Add what a list of flows shows.

    ``last_finished`` (when a run last ended), ``version_number`` of the published version, and
    ``has_changes``: whether there is something to publish.
    """
    # By an index. The newest run of a flow long retired is found by reading all newer ones.
    ended = FlowRun.objects.filter(flow=OuterRef("pk"), status=Status.DONE)
    return flows.annotate(
        last_finished=Subquery(ended.order_by("-finished_at").values("finished_at")[:1]),
        version_number=models.F("published__number"),
        has_changes=models.ExpressionWrapper(_CHANGED, output_field=models.BooleanField()),
    )


def live_counts(flows: Iterable[Flow]) -> dict[int, Counter[str]]:
    """Count the live runs of flows: by primary key of the flow and by status, in one query.

    A query for each flow and status took seconds where the flows have many runs. Counted are rows,
    not their keys: so PostgreSQL reads nothing but the index.
    """
    counts: dict[int, Counter[str]] = {flow.pk: Counter() for flow in flows}
    live = FlowRun.objects.using(_alias()).filter(flow__in=list(counts)).live()
    rows = live.order_by().values_list("flow", "status").annotate(number=models.Count("*"))
    for flow, status, number in rows:
        counts[flow][status] = number
    return counts


def versions_with_runs(flow: Flow) -> QuerySet[FlowVersion]:
    """Return the versions of a flow, the newest first, with ``live_runs`` and without documents."""
    live = FlowRun.objects.filter(version=OuterRef("pk"), status__in=LIVE)
    versions = FlowVersion.objects.filter(flow=flow).defer("document")
    return versions.annotate(live_runs=_count(live, "version")).order_by("-number")


_CHANGED = Q(draft__isnull=False) & (
    Q(published__isnull=True) | ~Q(draft__digest=models.F("published__digest"))
)


def _count(runs: QuerySet[FlowRun], by: str) -> Coalesce:
    """Return the number of runs of an outer row, which they name in a column."""
    counted = runs.order_by().values(by).annotate(number=models.Count("*")).values("number")
    return Coalesce(Subquery(counted, output_field=models.IntegerField()), 0)


def step_of(run: FlowRun) -> str:
    """Return the id of the step that a run is at; empty before the first, or where unreadable."""
    return _last_step(run.cursor)


def counts_by_step(flow: Flow) -> Counter[str]:
    """Count the live runs at each step of a flow; runs at the same place are counted together."""
    live = FlowRun.objects.using(_alias()).filter(flow=flow).live()
    rows = live.order_by().values_list("cursor").annotate(number=models.Count("*"))
    counts: Counter[str] = Counter()
    for cursor, number in rows:
        counts[_last_step(cursor)] += number
    del counts[""]
    return counts


def at_step(runs: QuerySet[FlowRun], step: str) -> QuerySet[FlowRun]:
    """Return the runs whose innermost step is the one with that id; none for what is not an id.

    Reads the cursor as text, which all databases write alike: ``step`` stands right before
    ``phase``, and the phase of the steps around is ``inside``.
    """
    if not STEP_ID.fullmatch(step):
        # The text is searched in the whole cursor, which has more in it than ids.
        return runs.none()
    texts = [f'"step": "{step}", "phase": "{phase}"' for phase in ("run", "return", "after")]
    found = Q(*(("cursor_text__contains", text) for text in texts), _connector=Q.OR)
    return runs.annotate(cursor_text=Cast("cursor", models.TextField())).filter(found)


def documents_of(runs: Iterable[FlowRun]) -> dict[int, Document]:
    """Return the documents of the versions of runs, with one query, if they can be read."""
    versions = FlowVersion.objects.using(_alias()).in_bulk({run.version_id for run in runs})
    documents = {}
    for pk, version in versions.items():
        try:
            documents[pk] = get_document(version)
        except FlowcontrolError:
            continue
    return documents


def find_step(run: FlowRun, documents: dict[int, Document]) -> Step | None:
    """Return the step that a run is at, from its version's document."""
    document = documents.get(run.version_id)
    return document.find(step_of(run)) if document and step_of(run) else None


def associations(flow: Flow) -> QuerySet[FlowTrigger]:
    """Return the flow triggers of a flow with what became of them lately.

    ``last_started`` is when one last started a run; ``refused_at``, ``refused_reason`` and
    ``refused_detail`` are about the last time it did not.
    """
    runs = FlowRun.objects.filter(flow=OuterRef("flow"), trigger=OuterRef("trigger"))
    skipped_firings = SkippedFiring.objects.filter(flow_trigger=OuterRef("pk")).order_by("-id")
    facts: dict[str, Any] = {
        "last_started": Subquery(runs.order_by("-id").values("created_at")[:1]),
        "refused_at": Subquery(skipped_firings.values("created_at")[:1]),
        "refused_reason": Subquery(skipped_firings.values("reason")[:1]),
        "refused_detail": Subquery(skipped_firings.values("detail")[:1]),
    }
    return FlowTrigger.objects.filter(flow=flow).annotate(**facts).order_by("pk")


def _last_step(cursor: Any) -> str:
    if isinstance(cursor, list) and cursor and isinstance(cursor[-1], dict):
        return str(cursor[-1].get("step", ""))
    return ""


def _alias() -> str:
    """Return the name of the database of the runs."""
    return router.db_for_write(FlowRun)
