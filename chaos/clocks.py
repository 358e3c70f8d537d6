"""F15: the clocks of the workers' machines are an hour off, to either side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from django.utils import timezone

from chaos.camp import Camp, create_runs, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow

HOUR = 3600.0
DELAY = 1.0
#: Whose ``datetime`` is replaced.
MODULES = ("flowcontrol", "django.utils.timezone", "tests.effects")
_now: Callable[..., datetime] = datetime.now


class _Kind(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class Skewed(datetime, metaclass=_Kind):
    """A ``datetime`` that tells the time wrongly, and makes right ones otherwise."""

    seconds = 0.0

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return datetime(*args, **kwargs)  # noqa: DTZ001 - as the caller says

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return _now(tz) + timedelta(seconds=cls.seconds)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()


def skew(seconds: float) -> None:
    """Put this process's clock wrong, and prove it."""
    Skewed.seconds = seconds
    right = time.time
    time.time = lambda: right() + seconds
    for name, module in list(sys.modules.items()):
        if name.startswith(MODULES) and getattr(module, "datetime", None) is datetime:
            module.datetime = Skewed  # type: ignore[attr-defined]
    off = timezone.now().timestamp() - right()
    if abs(off - seconds) > 1:
        raise AssertionError(f"the clock is {off} s off, not {seconds}")


@fault("F15", "workers' clocks an hour off")
def wrong_clocks(camp: Camp, figures: Figures) -> None:
    publish_flow(flow(write("a"), step("effects.doze", seconds=DELAY), write("b")))
    workers = [camp.fork_worker(partial(skew, seconds)) for seconds in (HOUR, -HOUR, HOUR, -HOUR)]
    runs = create_runs(camp.dose.pick(200, 40, 20))
    seen: dict[tuple[str, str], float] = {}

    def is_done() -> bool:
        # Seen late by a look's distance, so a delay may seem shorter by that.
        before = time.monotonic()
        done = camp.is_done()
        for key in camp.effects():
            seen.setdefault(key, before if key[1] == "b" else time.monotonic())
        return done

    camp.wait_for(is_done, *workers)
    figures.runs = len(runs)
    camp.check_complete(figures)
    camp.check_once(figures, runs, "a", "b")
    delays = [seen[str(run.uuid), "b"] - seen[str(run.uuid), "a"] for run in runs]
    figures.promise(min(delays) > DELAY / 2, f"a delay of {DELAY} s took {min(delays):.2f} s")
    figures.promise(max(delays) < HOUR / 100, f"a delay of {DELAY} s took {max(delays):.0f} s")
    figures.note = f"delays of {DELAY:.0f} s took {min(delays):.1f} to {max(delays):.1f} s"
