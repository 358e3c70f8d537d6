"""Verbs in bulk: a job names runs by filters; the sweeps do it bit by bit.

It counts what was done and what was refused, with the reasons.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, transaction
from django.db.models import F, Max, Q, QuerySet

from flowcontrol_core.engine.codec import decode, encode, normalize
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import BulkOperation, FlowRun
from flowcontrol_core.runs.execution.sweep import Duty, duties
from flowcontrol_core.runs.operations import control, restarts
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    alias,
    connection,
    durable,
    retry_transient,
    retrying,
)

logger = logging.getLogger("flowcontrol.runtime")
CHUNK = 100
MAX_REFUSALS = 20
#: What may choose the runs of a job: each names a column, none of them a secret or a relation.
FILTERS = frozenset(
    {
        "pk__in",
        "flow_id",
        "flow__key",
        "version_id",
        "status",
        "status__in",
        "outcome",
        "outcome__in",
        "blocked_on",
        "content_type_id",
        "object_key",
        "queue",
        "trigger",
        "since__gte",
        "since__lt",
    }
)
#: The errors of the database that are about one run, not about the database.
_OWN = (DataError, IntegrityError)
_Verb = Callable[..., FlowRun]
VERBS: dict[str, _Verb] = {
    "cancel": control.cancel_flowrun,
    "pause": control.pause_flowrun,
    "resume": control.resume_flowrun,
    "run now": control.run_now,
    "retry": control.retry_flowrun,
    "skip": control.skip_step,
    "send": control.go_to_step,
    "restart": restarts.restart_at_step,
    "edit state": restarts.merge_state,
    "move": restarts.move_to_current_version,
}


def start_bulk_operation(
    verb: str,
    filters: Mapping[str, Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> BulkOperation:
    """Have a verb done to all runs that match the filters now; the sweeps do it.

    ``arguments``: ``step`` for "send" and "restart", ``current_version`` for "restart", and for
    "edit state" ``changes``, the keys of the state to set. Raises FlowcontrolError for an unknown
    verb, a filter that is not allowed, or arguments that no run could take.
    """
    if verb not in VERBS:
        raise FlowcontrolError(f"{verb!r} is no verb; use one of {', '.join(VERBS)}.")
    unknown = sorted(set(filters) - FILTERS)
    if unknown or not filters:
        but = f", not {', '.join(unknown)}" if unknown else ""
        raise FlowcontrolError(f"A job needs filters from {', '.join(sorted(FILTERS))}{but}.")
    kept = _checked(filters)
    newest = FlowRun.objects.using(alias()).aggregate(newest=Max("pk"))["newest"] or 0
    return BulkOperation.objects.using(alias()).create(
        verb=verb,
        filters=kept,
        arguments=checked_arguments(verb, arguments or {}),
        actor=str(by)[:200],
        reason=reason,
        up_to=newest,
        created_at=clock().now(),
    )


def _checked(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Give filters as JSON values; raises FlowcontrolError for one that the database refuses.

    Were it found by the sweeps, each of them would fail.
    """
    kept = {name: _as_json(value) for name, value in filters.items()}
    try:
        FlowRun.objects.using(alias()).filter(**kept).order_by().exists()
    except (TypeError, ValueError, ValidationError) as error:
        raise FlowcontrolError(f"These filters cannot be used: {error}") from error
    return kept


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int):
        return value
    if isinstance(value, Iterable):
        return [_as_json(item) for item in value]
    raise FlowcontrolError(f"{value!r} cannot be used in the filters of a job.")


def checked_arguments(verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a verb as JSON; raises FlowcontrolError for what it does not take."""
    allowed = ARGUMENTS.get(verb, {})
    for name in arguments:
        if name not in allowed:
            raise FlowcontrolError(f"The verb {verb!r} takes no {name!r}.")
    return {name: check(verb, arguments.get(name)) for name, check in allowed.items()}


def _step(verb: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise FlowcontrolError(f"The verb {verb!r} needs 'step', a text: the id of a step.")
    return value


def _flag(verb: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise FlowcontrolError(f"The verb {verb!r}: 'current_version' is true or false.")
    return bool(value)


def _changes(verb: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or not value:
        raise FlowcontrolError(
            f"The verb {verb!r} needs 'changes', a mapping of keys of the state to their values."
        )
    restarts.kept_state(value)
    return encode(normalize(value, "changes"))


#: What the verbs take beside the run, and how it is checked.
ARGUMENTS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "send": {"step": _step},
    "restart": {"step": _step, "current_version": _flag},
    "edit state": {"changes": _changes},
}


def unfinished() -> QuerySet[BulkOperation]:
    """Give the jobs that are not done, the oldest first."""
    # The first column is the same in all of them, and names the index.
    return (
        BulkOperation.objects.using(alias()).filter(finished_at=None).order_by("finished_at", "pk")
    )


def work_on_bulk_operations() -> int:
    """Do the next bit of each unfinished job; give the number of runs that were looked at."""
    ids = list(unfinished().values_list("pk", flat=True)[:10])
    return sum(map(_do_bit, ids))


def _do_bit(pk: int) -> int:
    """Do the next bit of a job; one that is damaged stops neither the other jobs nor the sweep."""
    try:
        return retry_transient(_Bit(pk))
    except Exception as error:
        if isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, DataError):
            # They concern all: the next sweep does this bit.
            raise
        # Such as a filter by a field that an upgrade has renamed.
        logger.exception("The job %s cannot be done and is finished.", pk)
        _give_up(pk, error)
    return 0


@retrying
def _give_up(pk: int, error: Exception) -> None:
    """Finish a job that cannot be done, and have it say why; its row may be what is damaged."""
    why = f"The job cannot go on: {type(error).__name__}: {error}"[:500]
    unfinished().filter(pk=pk).update(
        finished_at=clock().now(), refused=F("refused") + 1, refusals={why: 1}
    )


class _Bit:
    """One transaction: up to so many runs of a job, and how far it has come."""

    def __init__(self, pk: int) -> None:
        self.pk = pk

    def __call__(self) -> int:
        with durable():
            job = _lock(self.pk)
            if job is None:
                return 0
            ids = list(_runs(job).values_list("pk", flat=True)[:CHUNK])
            for pk in ids:
                _do(job, pk)
            if len(ids) < CHUNK:
                job.finished_at = clock().now()
            job.save(update_fields=["last", "done", "refused", "refusals", "finished_at"])
        return len(ids)


def _lock(pk: int) -> BulkOperation | None:
    jobs = BulkOperation.objects.using(alias()).filter(pk=pk, finished_at__isnull=True)
    skips = connection().features.has_select_for_update_skip_locked
    return jobs.select_for_update(skip_locked=skips).first()


def _runs(job: BulkOperation) -> QuerySet[FlowRun]:
    matching = FlowRun.objects.using(alias()).filter(Q(**job.filters), pk__lte=job.up_to)
    return matching.filter(pk__gt=job.last).order_by("pk")


def _do(job: BulkOperation, pk: int) -> None:
    """Do the verb to one run; one that is not suitable does not stop the others."""
    try:
        with transaction.atomic(using=alias()):
            VERBS[job.verb](pk, by=job.actor, reason=job.reason, **decode(job.arguments))
        job.done += 1
    except FlowcontrolError as error:
        _refuse(job, str(error).replace(f"Run {pk} ", "A run "))
    except Exception as error:
        if isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, _OWN):
            # The whole bit is done again, or the next sweep does it.
            raise
        # A run that is damaged must not stop the others, nor the sweeps.
        logger.exception("The verb %r failed for run %s.", job.verb, pk)
        _refuse(job, f"{type(error).__name__}: {error}"[:500])
    job.last = pk


def _refuse(job: BulkOperation, sentence: str) -> None:
    job.refused += 1
    if sentence in job.refusals or len(job.refusals) < MAX_REFUSALS:
        job.refusals[sentence] = job.refusals.get(sentence, 0) + 1


def connect() -> None:
    """Make the sweeps work on bulk operations: first, so that a bulk cancel precedes its runs."""
    if _DUTY not in duties:
        duties.insert(0, _DUTY)


_DUTY = Duty(pending=unfinished, work=work_on_bulk_operations, in_chunks=True)
