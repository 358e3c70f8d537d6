"""What belongs to the whole process: noted when a sweep begins, and put back after the calls.

Other threads may sweep in the same process. What one of them changes for a while is not to be
taken for what it was: it is noted by the first of them, and put back by the last.
"""

from __future__ import annotations

import locale
import logging
import os
import signal
import socket
import threading

# The public one makes members of an enumeration of what it finds, which takes ten times as long.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

logger = logging.getLogger("flowcontrol.runs")


class Thing(NamedTuple):
    """Something that a process has one of: how it is read, and how it is set."""

    name: str
    read: Callable[[], Any]
    set: Callable[[Any], object]
    is_handler: bool = False


#: The last one costs the most to read.
THINGS = (
    Thing("current directory", os.getcwd, os.chdir),
    Thing("default time-out of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    *(
        Thing(
            f"handler of {name}",
            partial(getsignal, number),
            partial(signal.signal, number),
            is_handler=True,
        )
        # Workers of this project depend on these, and those of Celery.
        for name in ("SIGTERM", "SIGINT", "SIGALRM", "SIGUSR1")
        if (number := getattr(signal, name, None)) is not None
    ),
    Thing(
        "locale",
        partial(locale.setlocale, locale.LC_ALL),
        partial(locale.setlocale, locale.LC_ALL),
    ),
)
READ = [thing.read for thing in THINGS]
#: What costs next to nothing, and is checked after steps without effects too.
READ_QUICK = READ[:-1]


class Process:
    """The process as it was before its sweeps began.

    ``noted`` are the values of ``READ``, ``quick`` those of ``READ_QUICK``; ``lock`` protects them
    and the number of ``sweeps``.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sweeps = 0
        self.noted: list[Any] = []
        self.quick: list[Any] = []

    def note_handlers(self) -> None:
        """Note the signal handlers anew: the engine has set them. A handler may call this."""
        known = zip(THINGS, self.noted, strict=False)
        self.noted = [_value(thing) if thing.is_handler else noted for thing, noted in known]
        self.quick = self.noted[: len(READ_QUICK)]

    def put_back(self) -> None:
        """Put back what is not as it was noted, and log it; not while others sweep."""
        if self.sweeps != 1:
            return
        for thing, noted in zip(THINGS, self.noted, strict=False):
            if _value(thing) != noted:
                # Only the main thread sets handlers; a directory that was deleted is gone.
                with suppress(ValueError, TypeError, OSError, locale.Error):
                    thing.set(noted)
                logger.warning("A step changed the %s of the process; it is put back.", thing.name)


def _value(thing: Thing) -> Any:
    try:
        return thing.read()
    except OSError:
        # The current directory was deleted.
        return None


#: This process.
process = Process()
