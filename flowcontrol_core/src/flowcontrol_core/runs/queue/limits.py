"""Limits, kept under any race by unique slots: a run has one slot for each limit of its flow.

The unique index decides, at every isolation level. A stale read costs another try, never a run
too many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from flowcontrol_core.models import NO_OBJECT, ConsumedSlot, Flow, FlowRun, LimitPolicy
from flowcontrol_core.runs.store.connection import alias, retrying
from flowcontrol_core.runs.store.rows import LostLease, owned, update

_TRIES = 50


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that a run is subject to: its policy, the column of its slot, and the digests."""

    name: str
    column: str
    policy: LimitPolicy
    digests: tuple[str, ...]


def limits_of(flow: Flow, about: Mapping[str, Any]) -> list[Limit]:
    """Return the limits of a flow for a run about an object, which these columns name."""
    whole = ("max_concurrent", "slot", flow.max_concurrent, "")
    limits = [whole]
    if about["object_key"] is not None:
        scope = ":".join(about[name] for name in NO_OBJECT)
        limits += [
            ("max_concurrent_per_object", "slot_object", flow.max_concurrent_per_object, scope),
            ("max_per_object", "slot_ever", flow.max_per_object, scope),
        ]
    return [
        Limit(
            name,
            column,
            flow.policy_of(name),
            tuple(_digest(flow.key, name, scope, n) for n in range(most)),
        )
        for name, column, most, scope in limits
        if most is not None
    ]


def skipping(limits: Iterable[Limit]) -> list[Limit]:
    """Return the limits that refuse a run for good: no row is needed to wait for a slot."""
    return [limit for limit in limits if limit.policy == LimitPolicy.SKIP]


def reached(limits: Iterable[Limit]) -> str:
    """Name a limit of which no slot is free, without a lock; empty where all have one."""
    for limit in limits:
        if not _free(limit):
            return limit.name
    return ""


def take_slots(run: FlowRun, flow: Flow) -> str:
    """Take the slots of a claimed run; return the limit that refuses it, or an empty text.

    Of several it is the one that does least: to cancel a run for its slot, and then wait for that
    of another limit, or be skipped, would be of no use.
    """
    limits = wanting(run, flow)
    for _ in range(_TRIES):
        free = {limit: _free(limit) for limit in limits}
        full = [limit for limit, digests in free.items() if not digests]
        if full:
            return min(full, key=lambda limit: list(LimitPolicy).index(limit.policy)).name
        chosen = {limit.column: found[run.pk % len(found)] for limit, found in free.items()}
        if not chosen or _write_slots(run, chosen):
            return ""
    return limits[0].name


def wanting(run: FlowRun, flow: Flow) -> list[Limit]:
    """Return the limits of which a run has no slot, and needs one."""
    return [
        limit
        for limit in limits_of(flow, run.about)
        if getattr(run, limit.column) is None and not _is_counted(run, limit)
    ]


def _is_counted(run: FlowRun, limit: Limit) -> bool:
    """Return whether a run began before there was this limit on how many may ever begin."""
    return limit.column == "slot_ever" and run.started_at is not None


def _free(limit: Limit) -> list[str]:
    used: set[str | None] = set(
        FlowRun.objects.using(alias())
        .filter(**{f"{limit.column}__in": limit.digests})
        # Ordered by the primary key, SQLite would search all runs for them.
        .order_by()
        .values_list(limit.column, flat=True)
    )
    if limit.column == "slot_ever":
        # Read second: a run that is being pruned is in one of the two tables at any time.
        spent = ConsumedSlot.objects.using(alias()).filter(digest__in=limit.digests)
        used.update(spent.values_list("digest", flat=True))
    return [digest for digest in limit.digests if digest not in used]


def _write_slots(run: FlowRun, chosen: dict[str, str]) -> bool:
    """Try to take slots; False where another run was faster. Raises LostLease."""
    try:
        _update(run, chosen)
    except IntegrityError:
        return False
    for column, digest in chosen.items():
        setattr(run, column, digest)
    return True


@retrying
def _update(run: FlowRun, chosen: dict[str, str]) -> None:
    with transaction.atomic(using=alias()):
        if update(owned(run.pk, run.fence), **chosen) != 1:
            raise LostLease
        # A run that took the slot since it was read may have been pruned: no index refuses this.
        consumed = ConsumedSlot.objects.using(alias()).filter(digest__in=chosen.values())
        if "slot_ever" in chosen and consumed.exists():
            raise IntegrityError


def _digest(flow: str, name: str, scope: str, number: int) -> str:
    return hashlib.sha256(f"{flow}|{name}|{scope}|{number}".encode()).hexdigest()
