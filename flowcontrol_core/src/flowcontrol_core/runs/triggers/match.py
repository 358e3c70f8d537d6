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

from flowcontrol_core.actions.config import secrets_of
from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.actions.secrets import resolve
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode
from flowcontrol_core.errors import FlowcontrolError, NotStartedError, raise_interruption
from flowcontrol_core.expressions import Expression, Scope, compile_expression
from flowcontrol_core.models import (
    LIVE,
    NO_OBJECT,
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
    about_object,
    describe_object,
    why_nameless,
)
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.redaction import redact
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.start import build_run, check_startable, key_of_parent
from flowcontrol_core.runs.queue.limits import limits_of, skipping
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.runs.triggers.listeners import Listeners
from flowcontrol_core.tables import explain
from flowcontrol_core.zones import in_zone


class ConditionDatabaseError(Exception):
    """A condition met an error of the database: all of them have to be checked one by one."""

    def __init__(self, error: DatabaseError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class FiredEvent:
    """One firing of a trigger: what it is about.

    ``about`` are the columns of a run that name the object. They are empty for one that is not
    saved, or that no run can be about: ``nameless`` says why. ``object_text`` is its text all the
    same.
    """

    trigger: Trigger
    obj: models.Model | None
    payload: Mapping[str, Any]
    now: datetime
    about: Mapping[str, Any]
    object_text: str
    nameless: str

    @classmethod
    def of(
        cls, trigger: Trigger, obj: models.Model | None, payload: Mapping[str, Any], now: datetime
    ) -> FiredEvent:
        """Return the event of a trigger that fires now."""
        saved = obj if obj is not None and obj.pk is not None else None
        nameless = why_nameless(saved) if saved is not None else ""
        return cls(
            trigger=trigger,
            obj=obj,
            payload=payload,
            now=now,
            about=NO_OBJECT if saved is None or nameless else about_object(saved),
            object_text=describe_object(obj),
            nameless=nameless,
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
    """What comes of a firing: the rows to insert.

    ``checks`` are the messages to runs that have to check their guards.
    """

    runs: Sequence[FlowRun] = ()
    messages: Sequence[Message] = ()
    skipped: Sequence[SkippedFiring] = ()
    checks: Sequence[Message] = ()


def match(event: FiredEvent, listeners: Listeners, *, careful: bool = False) -> Match:
    """Return which flow triggers do something, whatever language and zone the user has.

    A condition is checked in the zone of its flow.

    With ``careful`` each condition is checked in a savepoint of its own. Raises
    ConditionDatabaseError, without it, where a condition fails in the database.
    """
    flow_triggers = listeners.flow_triggers.get(event.trigger.key, ())
    if event.nameless:
        return Match(
            skipped=[event.skip(each, Refusal.OBJECT, event.nameless) for each in flow_triggers]
        )
    wanted: list[FlowTrigger] = []
    skipped: list[SkippedFiring] = []
    with translation.override(None):
        for flow_trigger in flow_triggers:
            is_wanted, record = _check(event, flow_trigger, listeners, careful=careful)
            if is_wanted:
                wanted.append(flow_trigger)
            skipped += record
    starts = [item for item in wanted if item.mode == Mode.START]
    others = [item for item in wanted if item.mode != Mode.START]
    started = _starts(event, starts, listeners) if starts else Match()
    told = _messages(event, others) if others else Match()
    checks = _checks(event) if listeners.guards(event.obj) else ()
    skipped += [*started.skipped, *told.skipped]
    return Match(started.runs, told.messages, skipped, checks)


Checked = tuple[bool, Sequence[SkippedFiring]]


def _check(
    event: FiredEvent, flow_trigger: FlowTrigger, listeners: Listeners, *, careful: bool
) -> Checked:
    """Check the trigger's own form and the condition; one that fails concerns no other."""
    if event.trigger.accepts is None and not flow_trigger.condition:
        return True, ()
    try:
        zone = flow_trigger.flow.zone
        with in_zone(zone), transaction.atomic(using=alias()) if careful else nullcontext():
            return _holds(event, flow_trigger, listeners)
    except BaseException as error:
        raise_interruption(error)
        if isinstance(error, DatabaseError) and not careful:
            raise ConditionDatabaseError(error) from error
        text = str(explain(error) or f"{type(error).__name__}: {error}")
        return False, [event.skip(flow_trigger, Refusal.ERROR, text)]


def _holds(event: FiredEvent, flow_trigger: FlowTrigger, listeners: Listeners) -> Checked:
    scope, accepts = event.scope(), event.trigger.accepts
    if accepts is not None:
        config = listeners.config_of(flow_trigger, event.trigger)
        scope.secrets = resolve(secrets_of(config).values(), plugin_manager.secret)
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
                {**event.about, "object_text": event.object_text},
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
    ids = {flow.pk for flow in flows if _most_per_object(flow) is not None}
    if event.about["object_key"] is None or not ids:
        return Counter()
    live = FlowRun.objects.using(alias()).filter(**event.about, status__in=LIVE, flow_id__in=ids)
    return Counter(live.order_by().values_list("flow_id", flat=True))


def _used_up(event: FiredEvent, flows: list[Flow]) -> dict[int, str]:
    """Return the flows of which no slot is free for a limit that is not about live runs alone."""
    wanted = [
        (flow.pk, limit)
        for flow in {flow.pk: flow for flow in flows}.values()
        for limit in skipping(limits_of(flow, event.about))
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
    live = FlowRun.objects.using(alias()).filter(flow_id__in=by_flow, status__in=LIVE)
    if event.about["object_key"] is not None:
        live = live.filter(**event.about)
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


#: A run that is being executed, or blocked, waits for nothing that an event could cut short.
_WAKEABLE = frozenset({Status.PENDING, Status.WAITING, Status.PAUSED})


def _message(
    event: FiredEvent, flow_trigger: FlowTrigger, pk: int, status: str
) -> Sequence[Message]:
    trigger, payload = event.trigger.key, encode(event.payload)
    data: dict[str, Any] = {"payload": payload}
    if flow_trigger.mode == Mode.GO_TO:
        kind, data = MessageKind.GO_TO, {**data, "step": flow_trigger.step, "note": trigger}
    elif status in _WAKEABLE:
        kind, data = MessageKind.WAKE, {**data, "trigger": trigger}
    else:
        return ()
    return [_message_to(event, pk, kind, data)]


def _checks(event: FiredEvent) -> list[Message]:
    """Have the guards checked of the runs that wait and belong to the object."""
    waiting = FlowRun.objects.using(alias()).filter(
        **event.about, status=Status.WAITING, version__guarded=True
    )
    keys = waiting.order_by().values_list("pk", flat=True)[: get_settings().MAX_FAN_OUT]
    return [_message_to(event, pk, MessageKind.CHECK, {}) for pk in keys]


def _message_to(event: FiredEvent, pk: int, kind: MessageKind, data: dict[str, Any]) -> Message:
    return Message(
        run_id=pk,
        kind=kind,
        data=data,
        actor=f"trigger {event.trigger.key}",
        created_at=event.now,
        undelivered_since=event.now,
    )
