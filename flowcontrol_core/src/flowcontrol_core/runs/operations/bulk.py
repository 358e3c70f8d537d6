"""Bulk operations: an operator action on many runs, or a start for many objects.

The sweeps do them in chunks, and count what was done and what was refused, with the reasons.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, InterfaceError, transaction
from django.db.models import F, Max, Q, TextChoices
from django.utils.translation import gettext

from flowcontrol_core.bounds import ACTOR_CHARACTERS
from flowcontrol_core.engine.codec import decode, encode, normalize
from flowcontrol_core.errors import FlowcontrolError, IllegalChangeError, raise_interruption
from flowcontrol_core.models import BulkOperation, FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.sweep import Duty, duties
from flowcontrol_core.runs.operations.bulk_starts import OWN, Refusals, counted, starter
from flowcontrol_core.runs.operations.interventions import stored_state
from flowcontrol_core.runs.operations.operator_actions import (
    OPERATOR_ACTIONS,
    Text,
    get_operator_action,
    perform_checked,
)
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import alias, connection, durable, retrying
from flowcontrol_core.suggest import nearest_or_all
from flowcontrol_core.texts import storable_text

logger = logging.getLogger("flowcontrol.runs")
CHUNK = 100
MOST_COUNTED = 100_000
#: What may choose the runs: each names a column, none of them a secret or a relation.
FILTERS = frozenset((
    "pk__in", "flow_id", "flow__key", "version_id", "status", "status__in", "outcome",
    "outcome__in", "blocked_on", "object_type", "object_database", "object_key", "queue",
    "trigger", "since__gte", "since__lt",
))  # fmt: skip
_CHOICES: dict[str, type[TextChoices]] = {"status": Status, "outcome": Outcome}
#: The bulk operations that are not done, the oldest first. The first column is the same in all of
#: them, and names the index.
UNFINISHED = BulkOperation.objects.filter(finished_at=None).order_by("finished_at", "pk")
#: The code of what was not refused: an error of the program.
_FAILED = "failed"


def start_bulk_operation(
    operator_action: str,
    filters: Mapping[str, Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> BulkOperation:
    """Have an operator action done to all runs that match the filters now; the sweeps do it.

    ``arguments`` are those of the action, such as ``step``; "edit_state" takes ``changes``, the
    keys of the state to set. Raises FlowcontrolError for an unknown action, a filter that is not
    allowed, or arguments that no run could take.
    """
    unknown = sorted(set(filters) - FILTERS)
    if unknown or not filters:
        text = gettext("A bulk operation needs filters from: %(known)s. Unknown: %(unknown)s.")
        values = {"known": ", ".join(sorted(FILTERS)), "unknown": ", ".join(unknown) or "-"}
        raise FlowcontrolError(text % values)
    operation = _operation(operator_action, arguments, by, reason)
    operation.filters = _checked_filters(filters)
    newest = FlowRun.objects.using(alias()).aggregate(newest=Max("pk"))["newest"]
    operation.up_to = newest or 0
    operation.total = _counted_runs(operation)
    operation.save(force_insert=True, using=alias())
    return operation


def _counted_runs(operation: BulkOperation) -> int | None:
    """Return how many runs an operation is about; None where they are too many to be counted."""
    matching = FlowRun.objects.using(alias()).filter(**operation.filters).order_by()
    count = matching[:MOST_COUNTED].count()
    return count if count < MOST_COUNTED else None


def stop_bulk_operation(pk: int, *, by: Any = "") -> BulkOperation:
    """Stop a bulk operation after its present chunk; what is done stays done.

    Raises FlowcontrolError where there is none, or it has finished.
    """
    with transaction.atomic(using=alias()):
        operations = BulkOperation.objects.using(alias()).select_for_update()
        operation = operations.filter(pk=pk).first()
        if operation is None or operation.finished_at is not None:
            raise FlowcontrolError(gettext("The bulk operation has finished, or does not exist."))
        operation.finished_at = clock().now()
        operation.stopped_by = storable_text(by, ACTOR_CHARACTERS) or "-"
        operation.save(update_fields=["finished_at", "stopped_by"])
    return operation


def perform_on_each(
    operator_action: str,
    keys: Iterable[int],
    *,
    arguments: Mapping[str, Any] | None = None,
    by: Any = "",
    reason: str = "",
) -> BulkOperation:
    """Do an operator action to these runs now, without the sweeps; return the result, unsaved.

    For a page of runs. Raises as ``start_bulk_operation`` does. An error of the action itself,
    which is a bug, is logged and raised on.
    """
    operation = _operation(operator_action, arguments, by, reason)
    listed = list(keys)
    refusals = [refusal for pk in listed for refusal in retrying(_perform)(operation, pk)]
    operation.done, operation.refused = len(listed) - len(refusals), len(refusals)
    operation.refusals = counted([], refusals)
    return operation


def _operation(
    operator_action: str, arguments: Mapping[str, Any] | None, by: Any, reason: str
) -> BulkOperation:
    """Return a new operation with checked arguments; it chooses no runs yet."""
    action = get_operator_action(operator_action)
    checked = action.checked_arguments(arguments or {}, for_many=True)
    stored_state(checked.get("changes", {}))
    return BulkOperation(
        operator_action=action.name,
        arguments=encode(normalize(checked, "arguments")),
        actor=storable_text(by, ACTOR_CHARACTERS),
        note=storable_text(reason),
        created_at=clock().now(),
    )


def _checked_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters as JSON values; raises FlowcontrolError for one that the database refuses.

    Were it found by the sweeps, each of them would fail.
    """
    check_choices(filters)
    checked = {name: _as_json(value) for name, value in filters.items()}
    try:
        FlowRun.objects.using(alias()).filter(**checked).order_by().exists()
    except (OverflowError, TypeError, ValueError, ValidationError) as error:
        text = gettext("These filters cannot be used: %(error)s")
        raise FlowcontrolError(text % {"error": error}) from error
    return checked


def check_choices(filters: Mapping[str, Any]) -> None:
    """Raise FlowcontrolError for a status or an outcome that does not exist."""
    for name, given in filters.items():
        choices = _CHOICES.get(name.removesuffix("__in"))
        values = given if isinstance(given, list | tuple | set) else [given]
        for value in filter(lambda each: isinstance(each, str), values):
            if choices and value not in choices.values:
                text = gettext("“%(value)s” is not a possible %(name)s.")
                hint = nearest_or_all(str(value), choices.values)
                raise FlowcontrolError(f"{text % {'value': value, 'name': name}} {hint}")


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int):
        return value
    if isinstance(value, Iterable):
        return [_as_json(item) for item in value]
    text = gettext("%(value)r cannot be used in the filters of a bulk operation.")
    raise FlowcontrolError(text % {"value": value})


def refusal_text(operation: BulkOperation, refusal: Mapping[str, Any]) -> str:
    """Return why runs were refused, in the language of the reader."""
    code = str(refusal.get("code", ""))
    error = str((refusal.get("values") or {}).get("error", code))
    if code == "stopped":
        return gettext("The bulk operation cannot continue: %(error)s") % {"error": error}
    if code == _FAILED:
        return gettext("Failed, see the log: %(error)s") % {"error": error}
    return str(_text_of(operation, code) or error)


def _text_of(operation: BulkOperation, code: str) -> Text:
    """Return the text of the code of a refusal, where its operator action has one."""
    action = OPERATOR_ACTIONS.get(operation.operator_action)
    return action.refusal_text(code) if action else ""


def connect() -> None:
    """Make the sweeps work on bulk operations: first, so that a bulk cancel precedes its runs."""
    if _DUTY not in duties:
        duties.insert(0, _DUTY)


def work_on_bulk_operations() -> int:
    """Do the next chunk of each unfinished operation; return the number of runs they were."""
    return sum(map(_work_on, list(UNFINISHED.using(alias()).values_list("pk", flat=True)[:10])))


def _work_on(pk: int) -> int:
    """Do the next chunk; an operation that is damaged stops neither the others nor the sweep."""
    try:
        return _do_chunk(pk)
    except BaseException as error:
        raise_interruption(error)
        if isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, DataError):
            # They concern all: the next sweep does this chunk.
            raise
        # Such as a filter by a field that an upgrade has renamed.
        logger.exception("The bulk operation %s cannot be done and is finished.", pk)
        _give_up(pk, error)
    return 0


@retrying
def _give_up(pk: int, error: BaseException) -> None:
    """Finish an operation that cannot be done, with the reason; its row may be damaged."""
    text = f"{type(error).__name__}: {error}"[:500]
    refusal = {"code": "stopped", "values": {"error": text}, "count": 1}
    UNFINISHED.using(alias()).filter(pk=pk).update(
        finished_at=clock().now(), refused=F("refused") + 1, refusals=[refusal]
    )


@retrying
def _do_chunk(pk: int) -> int:
    """Do up to ``CHUNK`` runs of an operation in one transaction; return their number."""
    with durable():
        operations = BulkOperation.objects.using(alias()).filter(pk=pk, finished_at__isnull=True)
        skips = connection().features.has_select_for_update_skip_locked
        operation = operations.select_for_update(skip_locked=skips).first()
        if operation is None:
            return 0
        chunk = _next_objects(operation) if operation.is_start else _next_runs(operation)
        refusals = [
            refusal
            for item in chunk.items
            for refusal in _isolated(partial(chunk.perform, operation, item))
        ]
        failed = sum(refusal["code"] == _FAILED for refusal in refusals)
        operation.done += len(chunk.items) - len(refusals)
        operation.refused += len(refusals) - failed
        operation.failed += failed
        operation.refusals = counted(operation.refusals, refusals)
        operation.last = chunk.last
        if len(chunk.items) < CHUNK:
            operation.finished_at = clock().now()
        operation.save(
            update_fields=["last", "done", "refused", "failed", "refusals", "finished_at"]
        )
    return len(chunk.items)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What is done next: the keys of runs or objects, how, and where the operation is then."""

    items: Sequence[Any]
    perform: Callable[[BulkOperation, Any], Refusals]
    last: int


def _next_runs(operation: BulkOperation) -> _Chunk:
    if not operation.filters:
        # A damaged row must not choose all runs.
        raise FlowcontrolError(gettext("The filters of the bulk operation cannot be read."))
    matching = FlowRun.objects.using(alias()).filter(
        Q(**operation.filters), pk__lte=operation.up_to, pk__gt=operation.last
    )
    ids = list(matching.order_by("pk").values_list("pk", flat=True)[:CHUNK])
    return _Chunk(ids, _perform, ids[-1] if ids else operation.last)


def _next_objects(operation: BulkOperation) -> _Chunk:
    keys = operation.arguments["objects"][operation.last : operation.last + CHUNK]
    return _Chunk(keys, starter(operation, keys), operation.last + len(keys))


def _isolated(perform: Callable[[], Refusals]) -> Refusals:
    """Do it for one run or object; return why it was not done, if so.

    One that is damaged must not stop the others, nor the sweeps. Any error but a refusal has
    been logged by then, with its traceback.
    """
    try:
        return perform()
    except BaseException as error:
        raise_interruption(error)
        if isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, OWN):
            # The whole chunk is done again, or the next sweep does it.
            raise
        text = f"{type(error).__name__}: {error}"[:500]
        return [{"code": _FAILED, "values": {"error": text}}]


def _perform(operation: BulkOperation, pk: int) -> Refusals:
    """Do the action to one run; return why it was refused, if so. Other errors are raised."""
    try:
        action = get_operator_action(operation.operator_action)
        arguments = decode(operation.arguments)
        with transaction.atomic(using=alias()):
            perform_checked(action, pk, operation.actor, operation.note, arguments)
    except FlowcontrolError as error:
        if isinstance(error, IllegalChangeError) and _text_of(operation, error.code):
            return [{"code": error.code, "values": {}}]
        return [{"code": "error", "values": {"error": str(error)}}]
    except BaseException as error:
        raise_interruption(error)
        if not isinstance(error, DatabaseError | InterfaceError) or isinstance(error, OWN):
            logger.exception("The operator action %r failed for run %s.", operation, pk)
        raise
    return []


_DUTY = Duty(pending=UNFINISHED, work=work_on_bulk_operations, in_chunks=True)
