"""The listeners of all triggers: read at once, cached for seconds.

A firing without a listener costs no query. A change in this process is seen at once, one in
another after TRIGGER_CACHE_SECONDS.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F, Model, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.db.models.signals import post_delete, post_save

from flowcontrol_core.actions.config import BoundConfig, bind, read_config
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, FlowVersion, Status
from flowcontrol_core.runs.store.connection import (
    TenantCache,
    alias,
    connection,
    is_registered_after_commit,
    tenant,
)


@dataclass(frozen=True, slots=True)
class Listeners:
    """The flow triggers by trigger key, and the keys that some live version waits for.

    ``limited`` are the keys of the flows that have limits, ``guarded`` the labels of the models of
    flows with a guard.
    """

    flow_triggers: Mapping[str, tuple[FlowTrigger, ...]] = field(default_factory=dict)
    waited: frozenset[str] = frozenset()
    limited: frozenset[int] = frozenset()
    guarded: frozenset[str] = frozenset()
    _configs: dict[int, BoundConfig] = field(default_factory=dict)

    def hears(self, key: str) -> bool:
        """Return whether a flow or a waiting run is interested in a trigger."""
        return key in self.flow_triggers or key in self.waited

    def guards(self, obj: Model | None) -> bool:
        """Return whether a run about an object may have a guard that sees it."""
        return obj is not None and obj.pk is not None and obj._meta.label_lower in self.guarded

    def config_of(self, flow_trigger: FlowTrigger, trigger: Trigger) -> BoundConfig:
        """Return the configuration of a flow trigger, compiled once."""
        config = self._configs.get(flow_trigger.pk)
        if config is None:
            values = read_config(trigger.Config, flow_trigger.config, flow_trigger.flow.zone)
            config = self._configs[flow_trigger.pk] = bind(trigger.Config, values)
        return config


class ListenerCache:
    """The listeners of each tenant as they were last read, and until when they count."""

    def __init__(self) -> None:
        self._known: TenantCache[tuple[float, Listeners]] = TenantCache(most=1_000)
        #: Grows with each change, so that what was read before it is not kept after it.
        self._generation = 0

    def get(self) -> Listeners:
        """Return the listeners, at most TRIGGER_CACHE_SECONDS old.

        An error of the database leaves the caller's transaction as it was.
        """
        if self._is_private():
            return _read()
        known = self._known.get((tenant(),))
        if known is None or known[0] < time.monotonic():
            generation = self._generation
            until = time.monotonic() + get_settings().TRIGGER_CACHE_SECONDS
            known = (until, _read())
            if generation == self._generation:
                self._known[tenant(),] = known
        return known[1]

    def forget(self) -> None:
        """Read again next time; inside of a transaction, keep nothing until it is over."""
        self._drop()
        if connection().in_atomic_block and not self._is_private():
            transaction.on_commit(self._drop, using=alias())

    def _drop(self) -> None:
        self._generation += 1
        self._known.clear()

    def _is_private(self) -> bool:
        """Return whether this thread is in a transaction that has changed the listeners.

        What it reads then must not be kept for others: it may be rolled back. The transaction is
        known by what it has to do after its commit, which a rollback forgets.
        """
        return is_registered_after_commit(self._drop)


cache = ListenerCache()


def connect() -> None:
    """Notice changes in this process."""
    for model in (Flow, FlowTrigger, FlowVersion):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"flowcontrol.{model.__name__}")


def _changed(**_: Any) -> None:
    cache.forget()


def _read() -> Listeners:
    if not connection().in_atomic_block:
        return _query()
    # In a savepoint: on PostgreSQL an error would be the end of the caller's transaction.
    with transaction.atomic(using=alias()):
        return _query()


def _query() -> Listeners:
    by_key: dict[str, list[FlowTrigger]] = defaultdict(list)
    rows = FlowTrigger.objects.using(alias()).filter(active=True)
    rows = rows.select_related("flow__published").defer("flow__published__document")
    for association in rows.order_by("pk"):
        by_key[association.trigger].append(association)
    # The live ones by two probes of the index: EXISTS would drop the order, and may read all runs.
    runs = FlowRun.objects.using(alias()).filter(version_id=OuterRef("pk")).order_by("status")
    first = [
        Subquery(part.values("pk")[:1])
        for part in (runs.filter(status__lt=Status.DONE), runs.filter(status__gt=Status.DONE))
    ]
    versions = (
        FlowVersion.objects.using(alias())
        .exclude(waits_for="", guarded=False)
        .annotate(live=Coalesce(*first))
        .filter(Q(flow__published_id=F("pk")) | Q(live__isnull=False), published_at__isnull=False)
    )
    used = list(versions.values_list("waits_for", "guarded", "object_type"))
    waited = {key for keys, *_ in used for key in keys.split()}
    guarded = {model for _, has_guard, model in used if has_guard and model}
    flow_triggers = {key: tuple(found) for key, found in by_key.items()}
    limited = {each.flow_id for found in by_key.values() for each in found if each.flow.has_limits}
    return Listeners(flow_triggers, frozenset(waited), frozenset(limited), frozenset(guarded))
