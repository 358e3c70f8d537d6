"""Retention: what has ended long ago is pruned, in batches, never a live run.

A slot of ``max_per_object`` outlives its run: that limit counts the pruned ones too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Exists, Min, Model, OuterRef, Q, QuerySet

from flowcontrol_core.conf import get_settings
from flowcontrol_core.flows.lifecycle import record
from flowcontrol_core.models import (
    BulkOperation,
    ConsumedSlot,
    Flow,
    FlowEvent,
    FlowOperation,
    FlowRun,
    Message,
    RunEvent,
    SkippedFiring,
    Status,
    TriggerEvent,
    Worker,
)
from flowcontrol_core.models.run import FlowRunQuerySet
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, durable, retrying

#: Of less than 200 keys MariaDB counts the rows, of more it takes an average.
BATCH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted of each kind."""

    runs: int = 0
    history: int = 0
    events: int = 0
    skipped_firings: int = 0
    workers: int = 0
    bulk_operations: int = 0
    flow_events: int = 0


def prune(
    *,
    batches: int | None = None,
    by: Any = "",
    report: Callable[[int], object] = lambda _deleted: None,
) -> Pruned:
    """Delete what is older than the settings and the flows say, in batches of 150 rows.

    ``batches`` is the most it does; after each, ``report`` is called with how many rows are deleted
    so far. That runs or their history were deleted is recorded, with who
    (``by``) did it.
    """
    deleted: Counter[str] = Counter()
    for kind, model, ids in islice(_batches(clock().now()), batches):
        deleted[kind] += _delete(model, ids)
        report(deleted.total())
    pruned = Pruned(**deleted)
    if pruned.runs or pruned.history:
        values = {"runs": pruned.runs, "history": pruned.history}
        record("", FlowOperation.PRUNE, values, by=by)
    return pruned


def _batches(now: datetime) -> Iterator[tuple[str, type[Model], list[int]]]:
    """Yield batch after batch; each is read when it is about to be deleted."""
    for flow in Flow.objects.using(alias()).order_by("pk"):
        while ids := _prunable(flow, now):
            yield "runs", FlowRun, ids
    for kind, rows in _old_rows(now):
        while ids := _first(rows):
            yield kind, rows.model, ids


def _old_rows(now: datetime) -> Iterator[tuple[str, QuerySet[Any]]]:
    """Yield what is not a run and too old, by the names of the fields of ``Pruned``."""
    history_days = get_settings().RETENTION_HISTORY_DAYS
    before = now - timedelta(days=get_settings().RETENTION_EVENTS_DAYS)
    if history_days is not None:
        limit = now - timedelta(days=history_days)
        old = _older(RunEvent.objects.using(alias()), "at", limit)
        yield "history", old.filter(run__status=Status.DONE, run__finished_at__lt=limit)
    yield "events", _needless_events(before)
    yield "skipped_firings", _older(SkippedFiring.objects.using(alias()), "created_at", before)
    yield "workers", Worker.objects.using(alias()).filter(last_sweep_at__lt=before)
    yield "flow_events", FlowEvent.objects.using(alias()).filter(key="", at__lt=before)
    yield "bulk_operations", BulkOperation.objects.using(alias()).filter(finished_at__lt=before)


def _older(rows: Any, column: str, limit: datetime) -> QuerySet[Any]:
    """Return the rows before the first one, by primary key, that is not older than a time.

    The keys grow with the time, so the column needs no index, and young rows are not read.
    """
    young = rows.filter(**{f"{column}__gte": limit}).order_by("pk")
    first = young.values_list("pk", flat=True).first()
    old: QuerySet[Any] = rows.all() if first is None else rows.filter(pk__lt=first)
    return old


@retrying
def _delete(model: type[Model], ids: list[int]) -> int:
    """Delete rows in one transaction; return how many there still were."""
    with durable():
        if model is FlowRun:
            return _delete_runs(ids)
        return model._default_manager.using(alias()).filter(pk__in=ids).delete()[0]


def _prunable(flow: Flow, now: datetime) -> list[int]:
    """Return runs of a flow that are finished and too old or too many, the oldest first."""
    settings = get_settings()
    days = settings.RETENTION_DAYS if flow.retention_days is None else flow.retention_days
    most = settings.RETENTION_RUNS if flow.retention_runs is None else flow.retention_runs
    done = FlowRun.objects.using(alias()).filter(flow=flow, status=Status.DONE)
    if days is not None:
        old = done.filter(finished_at__lt=now - timedelta(days=days))
        old = old.order_by("finished_at", "pk")
        if ids := _first(_free(old)):
            return ids
    if most is not None:
        ordered = done.order_by("-finished_at", "-pk")
        limit = ordered.values_list("finished_at", "pk")[most : most + 1].first()
        if limit is not None:
            at, pk = limit
            # Runs that ended together are told apart by their keys, as in the order above.
            beyond = Q(finished_at__lt=at) | Q(finished_at=at, pk__lte=pk)
            return _first(_free(done.filter(beyond)).order_by("finished_at", "pk"))
    return []


def _free(runs: FlowRunQuerySet) -> FlowRunQuerySet:
    """Leave out what a live run waits for, or was not woken by yet: it may want the result."""
    waiting = FlowRun.objects.using(alias()).live().filter(wait_child=OuterRef("uuid"))
    return runs.filter(~Exists(waiting), status=Status.DONE, undelivered_since__isnull=True)


def _first(rows: QuerySet[Any]) -> list[int]:
    ordered = rows if rows.query.order_by else rows.order_by("pk")
    return list(ordered.values_list("pk", flat=True)[:BATCH])


def _needless_events(before: datetime) -> QuerySet[TriggerEvent]:
    """Return the old events that no live run can see: it began after them."""
    oldest = FlowRun.objects.using(alias()).live().aggregate(oldest=Min("created_at"))["oldest"]
    limit = before if oldest is None else min(before, oldest)
    return _older(TriggerEvent.objects.using(alias()), "created_at", limit)


def _delete_runs(ids: list[int]) -> int:
    """Delete runs that are still finished, with what belongs to them; keep their consumed slots."""
    # Checked again: an operator may have taken one up, or a run may wait for one by now.
    free = _free(FlowRun.objects.using(alias()).filter(pk__in=ids))
    runs = FlowRun.objects.using(alias()).filter(
        pk__in=list(free.values_list("pk", flat=True)), status=Status.DONE
    )
    runs = runs.order_by("pk")
    rows = list(runs.select_for_update().values_list("pk", "slot_ever"))
    keys = [pk for pk, _ in rows]
    ConsumedSlot.objects.using(alias()).bulk_create(
        [ConsumedSlot(digest=digest) for _, digest in rows if digest], ignore_conflicts=True
    )
    RunEvent.objects.using(alias()).filter(run_id__in=keys).delete()
    Message.objects.using(alias()).filter(run_id__in=keys).delete()
    for column in ("parent_id", "origin_id"):
        related = FlowRun.objects.using(alias())
        # By their keys: where MariaDB finds an index of little use, an update locks all rows.
        children = related.filter(**{f"{column}__in": keys}).order_by().values_list("pk", flat=True)
        related.filter(pk__in=list(children)).update(**{column: None})
    return FlowRun.objects.using(alias()).filter(pk__in=keys).delete()[0]
