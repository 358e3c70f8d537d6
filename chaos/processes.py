"""Processes that are forked from one in which Django is set up: each starts in milliseconds.

Not from the campaign itself: SQLite does not survive a fork of a process that has used it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from flowcontrol_core.management.worker import stopping_on_signals, work
from tests.processes.site import PATIENCE, Process

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["chaos.nursery"])
#: What a process does: something that can be pickled.
Work = Callable[[], object]


class Forked(Process):
    """A process that does some work with settings of its own, and ends with it."""

    def __init__(self, what: Work, settings: Mapping[str, Any]) -> None:
        super().__init__()
        output = f"/proc/{os.getpid()}/fd/{self._output.fileno()}"
        self.process = _CONTEXT.Process(
            target=_be, args=(what, dict(settings), output), daemon=True
        )
        self.process.start()
        self.pid = self.process.pid or 0

    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def exit_status(self) -> int:
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"process {self.pid} does not end\n{self.output}"
        return self.process.exitcode

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self._output.close()


def _be(what: Work, settings: dict[str, Any], output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    random.seed()
    django_settings.FLOWCONTROL = settings
    setting_changed.send(sender=None, setting="FLOWCONTROL", value=settings, enter=True)
    what()


def be_worker(*changes: Work) -> None:
    """Do what ``manage.py flowcontrol worker`` does, after changing this process for the worse."""
    for change in changes:
        change()
    with stopping_on_signals():
        work(interval=0.02, report=report_nothing)


def be_sweep() -> None:
    """Do what ``manage.py flowcontrol worker --once`` does."""
    with stopping_on_signals():
        work(interval=1, once=True, report=report_nothing)


def report_nothing(_executed: int) -> None:
    """Say nothing of a sweep."""
