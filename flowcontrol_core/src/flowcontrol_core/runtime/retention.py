"""Pruning: what has ended long ago is deleted, in batches, never a live run.

A slot of ``max_per_object`` outlives its run: that limit counts the pruned ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min, QuerySet

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import (
    Firing,
    Flow,
    FlowRun,
    Message,
    RunEvent,
    SpentSlot,
    Status,
    TriggerEvent,
    Worker,
)
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import alias, durable, retry_transient

BATCH = 500


@dataclass(slots=True)
class Pruned:
    """How much was deleted."""

    runs: int = 0
    history: int = 0
    events: int = 0
    firings: int = 0
    workers: int = 0


def prune(*, batches: int | None = None) -> Pruned:
    """Delete what is older than the settings and the flows say, up to so many batches of 500."""
    pruned = Pruned()
    now = clock().now()
    for number, work in enumerate(_work(now, pruned)):
        if batches is not None and number >= batches:
            break
        retry_transient(work)
    return pruned


def _work(now: datetime, pruned: Pruned) -> Iterator[_Batch]:
    """Give batch after batch; each is looked for when it is about to be deleted."""
    for flow in Flow.objects.using(alias()).order_by("pk"):
        while ids := _prunable(flow, now):
            yield _Batch(pruned, "runs", ids)
    history_days = get_settings().KEEP_HISTORY_DAYS
    events_before = now - timedelta(days=get_settings().KEEP_EVENTS_DAYS)
    finished = RunEvent.objects.using(alias()).filter(run__status=Status.DONE)
    if history_days is not None:
        old = finished.filter(run__finished_at__lt=now - timedelta(days=history_days))
        while ids := _first(old):
            yield _Batch(pruned, "history", ids)
    while ids := _first(_needless_events(events_before)):
        yield _Batch(pruned, "events", ids)
    old_firings = Firing.objects.using(alias()).filter(created_at__lt=events_before)
    while ids := _first(old_firings):
        yield _Batch(pruned, "firings", ids)
    gone = Worker.objects.using(alias()).filter(last_sweep_at__lt=events_before)
    while ids := _first(gone):
        yield _Batch(pruned, "workers", ids)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows to be deleted in one transaction."""

    pruned: Pruned
    kind: str
    ids: list[int]

    def __call__(self) -> None:
        with durable():
            if self.kind == "runs":
                count = _delete_runs(self.ids)
            else:
                count, _ = _MODELS[self.kind].objects.using(alias()).filter(
                    pk__in=self.ids
                ).delete()
        setattr(self.pruned, self.kind, getattr(self.pruned, self.kind) + count)


_MODELS = {"history": RunEvent, "events": TriggerEvent, "firings": Firing, "workers": Worker}


def _prunable(flow: Flow, now: datetime) -> list[int]:
    """Give runs of a flow that are finished and too old or too many, the oldest first."""
    settings = get_settings()
    days = settings.KEEP_DAYS if flow.keep_days is None else flow.keep_days
    most = settings.KEEP_RUNS if flow.keep_runs is None else flow.keep_runs
    done = FlowRun.objects.using(alias()).filter(flow=flow, status=Status.DONE)
    if days is not None:
        old = done.filter(finished_at__lt=now - timedelta(days=days)).order_by("finished_at")
        if ids := _first_free(old):
            return ids
    if most is not None:
        ordered = done.order_by("-finished_at", "-pk")
        limit = ordered.values_list("finished_at", "pk")[most : most + 1].first()
        if limit is not None:
            return _first_free(done.filter(finished_at__lte=limit[0]).order_by("finished_at"))
    return []


def _first_free(runs: QuerySet[FlowRun]) -> list[int]:
    """Leave out the runs that a live run still refers to: it may want their result."""
    ids = list(runs.values_list("pk", flat=True)[:BATCH])
    awaited = FlowRun.objects.using(alias()).filter(
        wait_child__in=FlowRun.objects.using(alias()).filter(pk__in=ids).values("uuid")
    )
    keys = set(awaited.values_list("wait_child", flat=True))
    if not keys:
        return ids
    rows = FlowRun.objects.using(alias()).filter(pk__in=ids)
    return [pk for pk, key in rows.values_list("pk", "uuid") if key not in keys]


def _first(rows: QuerySet) -> list[int]:  # type: ignore[type-arg]
    return list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _needless_events(before: datetime) -> QuerySet[TriggerEvent]:
    """Give the old events that no live run can see: it began after them."""
    oldest = FlowRun.objects.using(alias()).live().aggregate(oldest=Min("created_at"))["oldest"]
    limit = before if oldest is None else min(before, oldest)
    return TriggerEvent.objects.using(alias()).filter(created_at__lt=limit)


def _delete_runs(ids: list[int]) -> int:
    """Delete runs that are still finished, with what belongs to them; keep their spent slots."""
    runs = FlowRun.objects.using(alias()).filter(pk__in=ids, status=Status.DONE)
    rows = list(runs.select_for_update().values_list("pk", "slot_ever"))
    keys = [pk for pk, _ in rows]
    SpentSlot.objects.using(alias()).bulk_create(
        [SpentSlot(digest=digest) for _, digest in rows if digest], ignore_conflicts=True
    )
    RunEvent.objects.using(alias()).filter(run_id__in=keys).delete()
    Message.objects.using(alias()).filter(run_id__in=keys).delete()
    related = FlowRun.objects.using(alias())
    related.filter(parent_id__in=keys).update(parent=None)
    related.filter(origin_id__in=keys).update(origin=None)
    return FlowRun.objects.using(alias()).filter(pk__in=keys)._raw_delete(alias())  # type: ignore[attr-defined]
