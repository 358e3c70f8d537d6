"""Claimed runs that are given back: at once or, where that fails, as soon as it can be done.

The database may have hung up in the middle of a batch, or another session may have locked a row.
Such runs would wait until their leases have expired.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError, InterfaceError

from flowcontrol_core.conf import get_settings
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    TenantCache,
    alias,
    connection,
    durable,
    retrying,
    tenant,
)
from flowcontrol_core.runs.store.rows import owned, update

logger = logging.getLogger("flowcontrol.runs")


@retrying
def release(run: FlowRun, *, after: timedelta | None = None) -> None:
    """Return a claimed run to the queue: due at once without counting the attempt, or later.

    With ``after`` it is due then, and the attempt counts.
    """
    attempt = max(run.attempt - 1, 0) if after is None else run.attempt
    due_at = clock().now() + (after or timedelta())
    update(owned(run.pk, run.fence), due_at=due_at, attempt=attempt, worker="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreleased:
    """A claimed run that is still to be given back.

    ``after`` is as in ``release``; after ``until``, in monotonic time, its lease has expired.
    """

    run: FlowRun
    after: timedelta | None
    until: float


#: By the keys of the runs.
unreleased: TenantCache[dict[int, Unreleased]] = TenantCache(most=1_000)


def release_later(runs: Iterable[FlowRun], *, after: timedelta | None = None) -> None:
    """Note that claimed runs are to be given back as by ``release``: the next sweep does it."""
    key, until = (tenant(),), time.monotonic() + get_settings().LEASE
    if key not in unreleased:
        unreleased[key] = {}
    for run in runs:
        unreleased[key].setdefault(run.pk, Unreleased(run=run, after=after, until=until))


def release_now() -> None:
    """Release what was noted of the present tenant, unless another session has locked it.

    Where the database does not answer, that is logged, and left to the next sweep.
    """
    noted = unreleased.get((tenant(),))
    if not noted:
        return
    try:
        connection().close_if_unusable_or_obsolete()
        with durable():
            done = _unlocked(noted)
            for pk in done:
                release(noted[pk].run, after=noted[pk].after)
    except (DatabaseError, InterfaceError):
        logger.warning("%s claimed runs are given back later.", len(noted), exc_info=True)
        return
    now = time.monotonic()
    for pk in [*done, *(pk for pk, each in list(noted.items()) if each.until < now)]:
        noted.pop(pk, None)


def _unlocked(keys: Iterable[int]) -> list[int]:
    runs = FlowRun.objects.using(alias()).filter(pk__in=list(keys)).order_by("pk")
    if connection().features.has_select_for_update_skip_locked:
        runs = runs.select_for_update(skip_locked=True)
    return list(runs.values_list("pk", flat=True))
