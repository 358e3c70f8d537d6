"""Firing a trigger: inserts in the caller's transaction, everything else after its commit."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from django.db import DatabaseError, IntegrityError, models, transaction
from django.utils import timezone

from flowcontrol_core.conf import get_settings
from flowcontrol_core.engine.codec import encode, normalize
from flowcontrol_core.errors import FlowcontrolError, NotStartedError
from flowcontrol_core.expressions import Expression, Scope, compile_expression
from flowcontrol_core.models import (
    Firing,
    Flow,
    FlowRun,
    FlowTrigger,
    LimitPolicy,
    Message,
    MessageKind,
    Mode,
    Refusal,
    Status,
    TriggerEvent,
)
from flowcontrol_core.plugins.config import bind, read_config
from flowcontrol_core.plugins.registry import registry
from flowcontrol_core.plugins.triggers import Trigger
from flowcontrol_core.runtime import waking
from flowcontrol_core.runtime.activation import executing
from flowcontrol_core.runtime.clock import clock
from flowcontrol_core.runtime.database import alias, connection
from flowcontrol_core.runtime.dispatch import after_commit, dispatch
from flowcontrol_core.runtime.limits import limits_of
from flowcontrol_core.runtime.listeners import LIVE, Listeners, cache
from flowcontrol_core.runtime.objects import describe_object, reference
from flowcontrol_core.runtime.starting import build_run, check_startable

logger = logging.getLogger("flowcontrol.triggers")
_ENDED_TRANSACTION = ("1213", "3960", "25P02")


class Dispatcher:
    """What ``Trigger.fire`` calls once the site has started."""

    def is_listened_to(self, key: str) -> bool:
        listeners = cache.get()
        return key in listeners.associations or key in listeners.waited

    def fire(
        self,
        trigger: Trigger,
        obj: models.Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> None:
        """Fire, and log what goes wrong.

        Only an error of the database that has ended the caller's transaction is raised on: its
        other writes are gone.
        """
        try:
            trigger_flows(trigger.key, obj, payload, unique_key=unique_key)
        except Exception as error:
            if connection().in_atomic_block and _ended_transaction(error):
                raise
            logger.exception("The trigger %s could not be fired.", trigger.key)


def trigger_flows(
    key: str,
    obj: models.Model | None = None,
    payload: Mapping[str, Any] | None = None,
    *,
    unique_key: str = "",
) -> list[FlowRun]:
    """Fire a trigger by its key; give the runs that it created.

    They are created in the present transaction and executed after its commit. Raises
    UnknownTriggerError and StateError (a payload that is not JSON); Trigger.fire logs these.
    """
    trigger = registry.get_trigger(key)
    listeners = cache.get()
    associations = listeners.associations.get(key, ())
    if not associations and key not in listeners.waited:
        return []
    normalized = normalize(dict(payload or {}), "payload")
    now = clock().now()
    shot = _Shot(trigger, obj, normalized, now)
    with transaction.atomic(using=alias()):
        event = _keep_event(shot, listeners, unique_key)
        if event is _DUPLICATE:
            return []
        _aim(shot, associations)
        _write(shot)
    if event is not None:
        after_commit(partial(waking.announce_events, [event.pk]))
    if shot.messages:
        after_commit(partial(waking.ask, [message.run_id for message in shot.messages]))
    dispatch([run.pk for run in shot.runs])
    return shot.runs


@dataclass(slots=True)
class _Shot:
    """One firing: what it is about, and what comes of it."""

    trigger: Trigger
    obj: models.Model | None
    payload: Mapping[str, Any]
    now: datetime
    runs: list[FlowRun] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        saved = self.obj is not None and self.obj.pk is not None
        self.about = reference(self.obj if saved else None)

    def refuse(self, association: FlowTrigger, reason: Refusal, detail: str = "") -> None:
        """Record why a flow trigger did nothing."""
        self.firings.append(
            Firing(
                flow_trigger=association,
                reason=reason,
                detail=detail[:2000],
                object_text=describe_object(self.obj),
                created_at=self.now,
            )
        )


_DUPLICATE = TriggerEvent()


def _keep_event(shot: _Shot, listeners: Listeners, unique_key: str) -> TriggerEvent | None:
    """Keep the event where a live version waits for it, or to know it again."""
    waited = shot.trigger.key in listeners.waited
    if not waited and not unique_key:
        return None
    event = TriggerEvent(
        key=shot.trigger.key,
        content_type_id=shot.about["content_type_id"],
        object_key=shot.about["object_key"],
        payload=encode(shot.payload),
        unique_key=f"{shot.trigger.key}:{unique_key}"[:200] if unique_key else None,
        created_at=shot.now,
        announce_at=shot.now if waited else None,
    )
    if not unique_key:
        event.save(force_insert=True, using=alias())
        return event
    try:
        with transaction.atomic(using=alias()):
            event.save(force_insert=True, using=alias())
    except IntegrityError:
        return _DUPLICATE
    return event


def _aim(shot: _Shot, associations: Iterable[FlowTrigger]) -> None:
    """Find out which flow triggers do something."""
    wanted = [item for item in associations if _is_wanted(shot, item)]
    starts = [item for item in wanted if item.mode == Mode.START]
    others = [item for item in wanted if item.mode != Mode.START]
    most = get_settings().MAX_FAN_OUT
    for association in starts[most:]:
        shot.refuse(association, Refusal.FAN_OUT)
    _aim_starts(shot, starts[:most])
    if others:
        _aim_messages(shot, others)


def _is_wanted(shot: _Shot, association: FlowTrigger) -> bool:
    """Look at the trigger's own form and at the condition; one that fails concerns no other."""
    try:
        if not _accepts(shot, association):
            return False
        if association.condition and not _condition(association.condition).test(
            Scope(obj=shot.obj, payload=shot.payload, now=timezone.localtime(shot.now))
        ):
            shot.refuse(association, Refusal.CONDITION, association.condition)
            return False
    except DatabaseError:
        raise
    except Exception as error:
        shot.refuse(association, Refusal.ERROR, f"{type(error).__name__}: {error}")
        return False
    return True


def _accepts(shot: _Shot, association: FlowTrigger) -> bool:
    accepts = shot.trigger.accepts
    if accepts is None:
        return True
    form = shot.trigger.Config
    values = read_config(form, association.config, timezone.get_default_timezone())
    return accepts(bind(form, values), shot.obj, shot.payload)


@lru_cache(maxsize=1000)
def _condition(text: str) -> Expression:
    return compile_expression(text)


def _aim_starts(shot: _Shot, associations: list[FlowTrigger]) -> None:
    around = executing.get()
    depth = around.depth + 1 if around else 0
    reached = _reached_limits(shot, [item.flow for item in associations])
    for association in associations:
        flow = association.flow
        try:
            check_startable(flow, shot.obj if shot.about["object_key"] else None, depth=depth)
        except NotStartedError as error:
            shot.refuse(association, Refusal(error.reason), str(error))
            continue
        except FlowcontrolError as error:
            shot.refuse(association, Refusal.ERROR, str(error))
            continue
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


def _reached_limits(shot: _Shot, flows: list[Flow]) -> dict[int, str]:
    """Look, without a lock and with two queries at most, which limits are reached already."""
    limited = [flow for flow in flows if flow.has_limits and flow.limit_policy == LimitPolicy.SKIP]
    if not limited:
        return {}
    reached = {}
    live = _live_runs(shot, limited)
    for flow in limited:
        most = flow.max_concurrent_per_object
        if most is not None and live[flow.pk] >= most:
            reached[flow.pk] = "max_concurrent_per_object"
    reached.update(_used_up(shot, limited))
    return reached


def _live_runs(shot: _Shot, flows: list[Flow]) -> Counter[int]:
    key = shot.about["object_key"]
    ids = [flow.pk for flow in flows if flow.max_concurrent_per_object is not None]
    if key is None or not ids:
        return Counter()
    live = FlowRun.objects.using(alias()).filter(
        content_type_id=shot.about["content_type_id"],
        object_key=key,
        status__in=LIVE,
        flow_id__in=ids,
    )
    return Counter(live.values_list("flow_id", flat=True))


def _used_up(shot: _Shot, flows: list[Flow]) -> dict[int, str]:
    """Name the flows of which no slot is free for a limit that is not about live runs alone."""
    wanted = [
        (flow.pk, limit)
        for flow in flows
        for limit in limits_of(flow, shot.about["content_type_id"], shot.about["object_key"])
        if limit.name != "max_concurrent_per_object"
    ]
    digests = [digest for _, limit in wanted for digest in limit.digests]
    if not digests:
        return {}
    rows = FlowRun.objects.using(alias()).filter(
        models.Q(slot__in=digests) | models.Q(slot_ever__in=digests)
    )
    used = {digest for row in rows.values_list("slot", "slot_ever") for digest in row}
    return {pk: limit.name for pk, limit in wanted if used.issuperset(limit.digests)}


def _aim_messages(shot: _Shot, associations: list[FlowTrigger]) -> None:
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
    for pk, flow_id, status in live.order_by("pk").values_list("pk", "flow_id", "status")[:most]:
        for association in by_flow[flow_id]:
            message = _message(shot, association, pk, status)
            if message is not None:
                shot.messages.append(message)


def _message(shot: _Shot, association: FlowTrigger, pk: int, status: str) -> Message | None:
    if association.mode == Mode.RESTART:
        kind, data = MessageKind.JUMP, {"step": association.step, "reason": shot.trigger.key}
    elif status == Status.WAITING:
        kind = MessageKind.WAKE
        data = {"trigger": shot.trigger.key, "payload": encode(shot.payload)}
    else:
        return None
    return Message(
        run_id=pk, kind=kind, data=data, actor=f"trigger {shot.trigger.key}", created_at=shot.now
    )


def _write(shot: _Shot) -> None:
    """Insert what came of it: one statement a table, locks nothing that others could wait for."""
    if shot.runs:
        FlowRun.objects.using(alias()).bulk_create(shot.runs)
    if shot.messages:
        Message.objects.using(alias()).bulk_create(shot.messages)
    if shot.firings:
        Firing.objects.using(alias()).bulk_create(shot.firings)


def _ended_transaction(error: BaseException) -> bool:
    """Say whether the database has rolled the whole transaction back, savepoints included."""
    if not isinstance(error, DatabaseError):
        return False
    text = " ".join(str(part) for part in error.args)
    return any(code in text for code in _ENDED_TRANSACTION) or connection().needs_rollback
