"""Which flow triggers do something when a trigger fires, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, models, transaction
from django.utils import timezone, translation

from flowcontrol_core.actions.config import BoundConfig, bind, read_config
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
from flowcontrol_core.runs.execution.activation import executing
from flowcontrol_core.runs.execution.start import build_run, check_startable
from flowcontrol_core.runs.queue.limits import limits_of, skipping
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.runs.store.objects import describe_object, reference


class ConditionDatabaseError(Exception):
    """A condition met an error of the database: all of them have to be looked at one by one."""

    def __init__(self, error: DatabaseError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True, kw_only=True)
class Shot:
    """One firing: what it is about, and what comes of it.

    ``configs`` keeps the compiled configurations of flow triggers from one firing to the next.
    A ``careful`` one looks at each condition in a savepoint of its own.
    """

    trigger: Trigger
    obj: models.Model | None
    payload: Mapping[str, Any]
    now: datetime
    configs: dict[int, BoundConfig]
    careful: bool = False
    runs: list[FlowRun] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    skipped_firings: list[SkippedFiring] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    object_text: str = ""

    def __post_init__(self) -> None:
        saved = self.obj is not None and self.obj.pk is not None
        self.about = reference(self.obj if saved else None)
        self.object_text = self.about["object_text"] or describe_object(self.obj)

    def refuse(self, association: FlowTrigger, reason: Refusal, detail: str = "") -> None:
        """Record why a flow trigger did nothing."""
        self.skipped_firings.append(
            SkippedFiring(
                flow_trigger=association,
                reason=reason,
                detail=detail.replace("\x00", "")[:2000],
                object_text=self.object_text,
                created_at=self.now,
            )
        )


def aim(shot: Shot, associations: Iterable[FlowTrigger]) -> None:
    """Find out which flow triggers do something; raises ConditionDatabaseError."""
    wanted = _find_wanted(shot, associations)
    starts = [item for item in wanted if item.mode == Mode.START]
    others = [item for item in wanted if item.mode != Mode.START]
    if starts:
        _aim_starts(shot, starts)
    if others:
        _aim_messages(shot, others)


def _find_wanted(shot: Shot, associations: Iterable[FlowTrigger]) -> list[FlowTrigger]:
    """Leave out what is not wanted, whatever language and time zone the present user has."""
    with translation.override(None), timezone.override(timezone.get_default_timezone()):
        return [item for item in associations if _is_wanted(shot, item)]


def _is_wanted(shot: Shot, association: FlowTrigger) -> bool:
    """Look at the trigger's own form and at the condition; one that fails concerns no other."""
    if shot.trigger.accepts is None and not association.condition:
        return True
    try:
        with _apart(shot):
            return _accepts(shot, association) and _holds(shot, association)
    except Exception as error:
        if isinstance(error, DatabaseError) and not shot.careful:
            raise ConditionDatabaseError(error) from error
        shot.refuse(association, Refusal.ERROR, f"{type(error).__name__}: {error}")
        return False


def _apart(shot: Shot) -> AbstractContextManager[Any]:
    return transaction.atomic(using=alias()) if shot.careful else nullcontext()


def _accepts(shot: Shot, association: FlowTrigger) -> bool:
    accepts = shot.trigger.accepts
    if accepts is None:
        return True
    config = shot.configs.get(association.pk)
    if config is None:
        form = shot.trigger.Config
        values = read_config(form, association.config, timezone.get_default_timezone())
        config = shot.configs[association.pk] = bind(form, values)
    scope = Scope(obj=shot.obj, payload=shot.payload, now=timezone.localtime(shot.now))
    return accepts(config.at(scope), shot.obj, shot.payload)


def _holds(shot: Shot, association: FlowTrigger) -> bool:
    if not association.condition:
        return True
    scope = Scope(obj=shot.obj, payload=shot.payload, now=timezone.localtime(shot.now))
    if _condition(association.condition).test(scope):
        return True
    shot.refuse(association, Refusal.CONDITION, association.condition)
    return False


@lru_cache(maxsize=1000)
def _condition(text: str) -> Expression:
    return compile_expression(text)


def _aim_starts(shot: Shot, associations: list[FlowTrigger]) -> None:
    around = executing.get()
    depth = around.depth + 1 if around else 0
    most = _room(around)
    for association in associations[most:]:
        shot.refuse(association, Refusal.FAN_OUT)
    startable = [item for item in associations[:most] if _is_startable(shot, item, depth=depth)]
    reached = _reached_limits(shot, [item.flow for item in startable])
    for association in startable:
        flow = association.flow
        if flow.pk in reached:
            shot.refuse(association, Refusal.LIMIT, reached[flow.pk])
            continue
        shot.runs.append(
            build_run(
                flow,
                shot.about,
                shot.now,
                state={},
                payload=encode(shot.payload),
                parent_id=around.pk if around else None,
                depth=depth,
                trigger=shot.trigger.key,
            )
        )


def _room(around: RunContext | None) -> int:
    """Say how many runs may be started: fewer by those that the run around has started before."""
    most = get_settings().MAX_FAN_OUT
    if around is None or around.pk is None:
        return most
    return most - FlowRun.objects.using(alias()).filter(parent_id=around.pk)[:most].count()


def _is_startable(shot: Shot, association: FlowTrigger, *, depth: int) -> bool:
    obj = shot.obj if shot.about["object_key"] is not None else None
    try:
        check_startable(association.flow, obj, depth=depth)
    except NotStartedError as error:
        shot.refuse(association, Refusal(error.reason), str(error))
        return False
    except FlowcontrolError as error:
        shot.refuse(association, Refusal.ERROR, str(error))
        return False
    return True


def _reached_limits(shot: Shot, flows: list[Flow]) -> dict[int, str]:
    """Look, without a lock and with two queries at most, which limits are reached already."""
    limited = [flow for flow in flows if flow.has_limits]
    if not limited:
        return {}
    reached = {}
    live = _live_runs(shot, limited)
    for flow in limited:
        most = _most_per_object(flow)
        if most is not None and live[flow.pk] >= most:
            reached[flow.pk] = "max_concurrent_per_object"
    reached.update(_used_up(shot, limited))
    return reached


def _most_per_object(flow: Flow) -> int | None:
    """Give the limit on the live runs of an object, where a run too many is skipped."""
    skips = flow.policy_of("max_concurrent_per_object") == LimitPolicy.SKIP
    return flow.max_concurrent_per_object if skips else None


def _live_runs(shot: Shot, flows: list[Flow]) -> Counter[int]:
    key = shot.about["object_key"]
    ids = {flow.pk for flow in flows if _most_per_object(flow) is not None}
    if key is None or not ids:
        return Counter()
    live = FlowRun.objects.using(alias()).filter(
        content_type_id=shot.about["content_type_id"],
        object_key=key,
        status__in=LIVE,
        flow_id__in=ids,
    )
    return Counter(live.order_by().values_list("flow_id", flat=True))


def _used_up(shot: Shot, flows: list[Flow]) -> dict[int, str]:
    """Name the flows of which no slot is free for a limit that is not about live runs alone."""
    about = shot.about
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


def _aim_messages(shot: Shot, associations: list[FlowTrigger]) -> None:
    """Address the live runs of the object: of any object where the trigger comes with none."""
    by_flow: dict[int, list[FlowTrigger]] = {}
    for association in associations:
        by_flow.setdefault(association.flow_id, []).append(association)
    live = FlowRun.objects.using(alias()).filter(
        flow_id__in=by_flow, status__in=[s for s in LIVE if s != Status.PENDING]
    )
    if shot.about["object_key"] is not None:
        live = live.filter(
            content_type_id=shot.about["content_type_id"], object_key=shot.about["object_key"]
        )
    most = get_settings().MAX_FAN_OUT
    # Ordered by the primary key, PostgreSQL would look for them among all runs ever.
    oldest = live.order_by("created_at", "pk")
    found = list(oldest.values_list("pk", "flow_id", "status")[: most + 1])
    for pk, flow_id, status in found[:most]:
        for association in by_flow[flow_id]:
            message = _message(shot, association, pk, status)
            if message is not None:
                shot.messages.append(message)
    if len(found) > most:
        for association in associations:
            detail = f"Only the {most:,} oldest runs were told (setting MAX_FAN_OUT)."
            shot.refuse(association, Refusal.FAN_OUT, detail)


def _message(shot: Shot, association: FlowTrigger, pk: int, status: str) -> Message | None:
    if association.mode == Mode.GO_TO:
        kind, data = MessageKind.GO_TO, {"step": association.step, "reason": shot.trigger.key}
    elif status == Status.WAITING:
        kind = MessageKind.WAKE
        data = {"trigger": shot.trigger.key, "payload": encode(shot.payload)}
    else:
        return None
    return Message(
        run_id=pk,
        kind=kind,
        data=data,
        actor=f"trigger {shot.trigger.key}",
        created_at=shot.now,
        undelivered_since=shot.now,
    )
