"""Which flow triggers do something when a trigger fires, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import DatabaseError, models, transaction
from django.utils import timezone, translation

from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode
from flowcontrol_core.errors import FlowcontrolError, NotStartedError
from flowcontrol_core.expressions import Expression, Scope, compile_expression
from flowcontrol_core.models import (
    LIVE,
    Flow,
    FlowRun,
    FlowTrigger,
    LimitPolicy,
    Message,
    MessageKind,
    Mode,
    Refusal,
    SkippedFiring,
    Status,
)
from flowcontrol_core.redaction import redact
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.start import build_run, check_startable, key_of_parent
from flowcontrol_core.runs.queue.limits import limits_of, skipping
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.runs.store.objects import describe_object, reference
from flowcontrol_core.runs.triggers.listeners import Listeners


class ConditionDatabaseError(Exception):
    """A condition met an error of the database: all of them have to be checked one by one."""

    def __init__(self, error: DatabaseError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class FiredEvent:
    """One firing of a trigger: what it is about.

    ``about`` are the columns of a run that name the object; they are empty for one that is not
    saved, whose text is ``object_text`` all the same.
    """

    trigger: Trigger
    obj: models.Model | None
    payload: Mapping[str, Any]
    now: datetime
    about: Mapping[str, Any]
    object_text: str

    @classmethod
    def of(
        cls, trigger: Trigger, obj: models.Model | None, payload: Mapping[str, Any], now: datetime
    ) -> FiredEvent:
        """Return the event of a trigger that fires now."""
        about = reference(obj if obj is not None and obj.pk is not None else None)
        text = about["object_text"] or describe_object(obj)
        return cls(
            trigger=trigger, obj=obj, payload=payload, now=now, about=about, object_text=text
        )

    def scope(self) -> Scope:
        """Return what a condition sees of it."""
        return Scope(obj=self.obj, payload=self.payload, now=timezone.localtime(self.now))

    def skip(
        self, flow_trigger: FlowTrigger, reason: Refusal, detail: object = ""
    ) -> SkippedFiring:
        """Return the record of why a flow trigger does nothing."""
        return SkippedFiring(
            flow_trigger=flow_trigger,
            reason=reason,
            detail=redact(str(detail))[:2000],
            object_text=self.object_text,
            created_at=self.now,
        )


class Match(NamedTuple):
    """What comes of a firing: the rows to insert."""

    runs: Sequence[FlowRun] = ()
    messages: Sequence[Message] = ()
    skipped: Sequence[SkippedFiring] = ()


def match(event: FiredEvent, listeners: Listeners, *, careful: bool = False) -> Match:
    """Return which flow triggers do something, whatever language and zone the user has.

    With ``careful`` each condition is checked in a savepoint of its own. Raises
    ConditionDatabaseError, without it, where a condition fails in the database.
    """
    wanted: list[FlowTrigger] = []
    skipped: list[SkippedFiring] = []
    with translation.override(None), timezone.override(timezone.get_default_timezone()):
        for flow_trigger in listeners.flow_triggers.get(event.trigger.key, ()):
            is_wanted, record = _check(event, flow_trigger, listeners, careful=careful)
            if is_wanted:
                wanted.append(flow_trigger)
            skipped += record
    starts = [item for item in wanted if item.mode == Mode.START]
    others = [item for item in wanted if item.mode != Mode.START]
    runs, _, not_started = _starts(event, starts, listeners) if starts else Match()
    _, messages, not_notified = _messages(event, others) if others else Match()
    return Match(runs, messages, [*skipped, *not_started, *not_notified])


Checked = tuple[bool, Sequence[SkippedFiring]]


def _check(
    event: FiredEvent, flow_trigger: FlowTrigger, listeners: Listeners, *, careful: bool
) -> Checked:
    """Check the trigger's own form and the condition; one that fails concerns no other."""
    if event.trigger.accepts is None and not flow_trigger.condition:
        return True, ()
    try:
        with transaction.atomic(using=alias()) if careful else nullcontext():
            return _holds(event, flow_trigger, listeners)
    except Exception as error:
        if isinstance(error, DatabaseError) and not careful:
            raise ConditionDatabaseError(error) from error
        text = f"{type(error).__name__}: {error}"
        return False, [event.skip(flow_trigger, Refusal.ERROR, text)]


def _holds(event: FiredEvent, flow_trigger: FlowTrigger, listeners: Listeners) -> Checked:
    scope, accepts = event.scope(), event.trigger.accepts
    if accepts is not None:
        config = listeners.config_of(flow_trigger, event.trigger)
        if not accepts(config.at(scope), event.obj, event.payload):
            return False, ()
    condition = flow_trigger.condition
    if condition and not _compiled(condition).test(scope):
        return False, [event.skip(flow_trigger, Refusal.CONDITION, condition)]
    return True, ()


@lru_cache(maxsize=1000)
def _compiled(condition: str) -> Expression:
    return compile_expression(condition)


# --- starting runs --------------------------------------------------------------------------


def _starts(event: FiredEvent, flow_triggers: list[FlowTrigger], listeners: Listeners) -> Match:
    around = executing.get()
    depth = around.depth + 1 if around else 0
    most = _room(around)
    skipped = [event.skip(item, Refusal.FAN_OUT) for item in flow_triggers[most:]]
    startable: list[FlowTrigger] = []
    for flow_trigger in flow_triggers[:most]:
        if refusals := _why_not_startable(event, flow_trigger, depth):
            skipped += refusals
        else:
            startable.append(flow_trigger)
    limited = [item.flow for item in startable if item.flow_id in listeners.limited]
    reached = _reached_limits(event, limited) if limited else {}
    runs: list[FlowRun] = []
    for flow_trigger in startable:
        flow = flow_trigger.flow
        if flow.pk in reached:
            skipped.append(event.skip(flow_trigger, Refusal.LIMIT, reached[flow.pk]))
            continue
        runs.append(
            build_run(
                flow,
                event.about,
                event.now,
                state={},
                payload=encode(event.payload),
                parent_id=key_of_parent(around),
                depth=depth,
                trigger=event.trigger.key,
            )
        )
    return Match(runs=runs, skipped=skipped)


def _room(around: RunContext | None) -> int:
    """Return how many runs may be started: fewer by those that the run around has started."""
    most = get_settings().MAX_FAN_OUT
    key = key_of_parent(around)
    if key is None:
        return most
    return most - FlowRun.objects.using(alias()).filter(parent_id=key)[:most].count()


def _why_not_startable(
    event: FiredEvent, flow_trigger: FlowTrigger, depth: int
) -> Sequence[SkippedFiring]:
    obj = event.obj if event.about["object_key"] is not None else None
    try:
        check_startable(flow_trigger.flow, obj, depth=depth)
    except NotStartedError as error:
        return [event.skip(flow_trigger, Refusal(error.reason))]
    except FlowcontrolError as error:
        return [event.skip(flow_trigger, Refusal.ERROR, error)]
    return ()


def _reached_limits(event: FiredEvent, flows: list[Flow]) -> dict[int, str]:
    """Return, without a lock and with two queries at most, which limits are reached already."""
    live = _live_runs(event, flows)
    reached = {
        flow.pk: "max_concurrent_per_object"
        for flow in flows
        if (most := _most_per_object(flow)) is not None and live[flow.pk] >= most
    }
    return reached | _used_up(event, flows)


def _most_per_object(flow: Flow) -> int | None:
    """Return the limit on the live runs of an object, where a further run is skipped."""
    skips = flow.policy_of("max_concurrent_per_object") == LimitPolicy.SKIP
    return flow.max_concurrent_per_object if skips else None


def _live_runs(event: FiredEvent, flows: list[Flow]) -> Counter[int]:
    key = event.about["object_key"]
    ids = {flow.pk for flow in flows if _most_per_object(flow) is not None}
    if key is None or not ids:
        return Counter()
    live = FlowRun.objects.using(alias()).filter(
        content_type_id=event.about["content_type_id"],
        object_key=key,
        status__in=LIVE,
        flow_id__in=ids,
    )
    return Counter(live.order_by().values_list("flow_id", flat=True))


def _used_up(event: FiredEvent, flows: list[Flow]) -> dict[int, str]:
    """Return the flows of which no slot is free for a limit that is not about live runs alone."""
    about = event.about
    wanted = [
        (flow.pk, limit)
        for flow in {flow.pk: flow for flow in flows}.values()
        for limit in skipping(limits_of(flow, about["content_type_id"], about["object_key"]))
        if limit.name != "max_concurrent_per_object"
    ]
    digests = [digest for _, limit in wanted for digest in limit.digests]
    if not digests:
        return {}
    rows = FlowRun.objects.using(alias()).filter(
        models.Q(slot__in=digests) | models.Q(slot_ever__in=digests)
    )
    found = rows.order_by().values_list("slot", "slot_ever")
    used = {digest for row in found for digest in row}
    return {pk: limit.name for pk, limit in wanted if used.issuperset(limit.digests)}


# --- messages to runs -----------------------------------------------------------------------


def _messages(event: FiredEvent, flow_triggers: list[FlowTrigger]) -> Match:
    """Address the live runs of the object: of any object where the trigger comes with none."""
    by_flow: dict[int, list[FlowTrigger]] = {}
    for flow_trigger in flow_triggers:
        by_flow.setdefault(flow_trigger.flow_id, []).append(flow_trigger)
    live = FlowRun.objects.using(alias()).filter(
        flow_id__in=by_flow, status__in=[s for s in LIVE if s != Status.PENDING]
    )
    if event.about["object_key"] is not None:
        live = live.filter(
            content_type_id=event.about["content_type_id"], object_key=event.about["object_key"]
        )
    most = get_settings().MAX_FAN_OUT
    # Ordered by the primary key, PostgreSQL would search for them among all runs ever.
    oldest = live.order_by("created_at", "pk")
    found = list(oldest.values_list("pk", "flow_id", "status")[: most + 1])
    messages = [
        message
        for pk, flow_id, status in found[:most]
        for flow_trigger in by_flow[flow_id]
        for message in _message(event, flow_trigger, pk, status)
    ]
    too_many: Iterable[FlowTrigger] = flow_triggers if len(found) > most else ()
    skipped = [event.skip(item, Refusal.FAN_OUT, f"> {most:,}") for item in too_many]
    return Match(messages=messages, skipped=skipped)


def _message(
    event: FiredEvent, flow_trigger: FlowTrigger, pk: int, status: str
) -> Sequence[Message]:
    trigger = event.trigger.key
    if flow_trigger.mode == Mode.GO_TO:
        kind, data = MessageKind.GO_TO, {"step": flow_trigger.step, "note": trigger}
    elif status == Status.WAITING:
        kind, data = MessageKind.WAKE, {"trigger": trigger, "payload": encode(event.payload)}
    else:
        return ()
    return [
        Message(
            run_id=pk,
            kind=kind,
            data=data,
            actor=f"trigger {trigger}",
            created_at=event.now,
            undelivered_since=event.now,
        )
    ]
