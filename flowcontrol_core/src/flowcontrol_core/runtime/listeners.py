"""Who listens to which trigger: read for all triggers at once, kept for a moment.

A firing that nobody listens to costs no query. A change in this process is seen at once, one in
another after TRIGGER_CACHE_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, F, OuterRef, Q
from django.db.models.signals import post_delete, post_save

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, FlowVersion, Status
from flowcontrol_core.runtime.database import alias, connection


@dataclass(frozen=True, slots=True)
class Listeners:
    """The flow triggers by trigger key, and the keys that some live version waits for."""

    associations: Mapping[str, tuple[FlowTrigger, ...]] = field(default_factory=dict)
    waited: frozenset[str] = frozenset()


class ListenerCache:
    """What is known of the listeners, and until when."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._known: tuple[float, Listeners] | None = None

    def get(self) -> Listeners:
        """Give the listeners, at most TRIGGER_CACHE_SECONDS old."""
        if self._is_private():
            return _read()
        known = self._known
        if known is None or known[0] < time.monotonic():
            until = time.monotonic() + get_settings().TRIGGER_CACHE_SECONDS
            known = self._known = (until, _read())
        return known[1]

    def forget(self) -> None:
        """Read again next time; inside of a transaction, keep nothing until it is over."""
        self._known = None
        if connection().in_atomic_block:
            self._local.changed = True

    def _is_private(self) -> bool:
        """Say whether this thread is in a transaction that has changed the listeners.

        What it reads then must not be kept for others: it may be rolled back.
        """
        if not getattr(self._local, "changed", False):
            return False
        if connection().in_atomic_block:
            return True
        self._local.changed = False
        self._known = None
        return False


cache = ListenerCache()


def connect() -> None:
    """Notice changes in this process."""
    for model in (Flow, FlowTrigger, FlowVersion):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"flowcontrol.{model.__name__}")


def _changed(**_: Any) -> None:
    cache.forget()


def _read() -> Listeners:
    by_key: dict[str, list[FlowTrigger]] = defaultdict(list)
    rows = FlowTrigger.objects.using(alias()).filter(active=True)
    rows = rows.select_related("flow__published").defer("flow__published__definition")
    for association in rows.order_by("pk"):
        by_key[association.trigger].append(association)
    live = FlowRun.objects.filter(version_id=OuterRef("pk"), status__in=LIVE)
    versions = FlowVersion.objects.using(alias()).exclude(waits_for="").filter(
        Q(flow__published_id=F("pk")) | Q(Exists(live)), published_at__isnull=False
    )
    waited = {
        key for keys in versions.values_list("waits_for", flat=True) for key in keys.split()
    }
    return Listeners({key: tuple(found) for key, found in by_key.items()}, frozenset(waited))


LIVE = [status for status in Status if status != Status.DONE]
