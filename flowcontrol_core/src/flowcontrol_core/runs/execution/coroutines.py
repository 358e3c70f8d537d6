"""The coroutines of actions: awaited in an event loop of their own, where a time-out is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from asgiref.sync import async_to_sync
from django.utils.translation import gettext

from flowcontrol_core.actions.config import BoundConfig, compute
from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.errors import StepTimeoutError


def finish(
    coroutine: Coroutine[Any, Any, Any], run: RunContext, config: BoundConfig, timeout: float
) -> Any:
    """Return the answer of an action, given its coroutine; ``timeout`` is in seconds.

    Raises StepTimeoutError, and whatever the coroutine raises.
    """
    call = _Awaited(coroutine, run, timeout)
    try:
        # From inside of an event loop neither could query the database.
        run.load_object()
        compute(config)
        return async_to_sync(call.answer)()
    finally:
        call.cancel()


def overrun(seconds: float, timeout: float) -> StepTimeoutError:
    """Return the error of a call that took longer than its time-out, and could not be ended."""
    text = gettext(
        "The call took %(seconds)s s, longer than its time-out of %(timeout)s s. It could not be "
        "interrupted; its answer is discarded. Set a shorter time-out on what it waits for, call "
        "run.heartbeat(), or raise the time-out of the step."
    )
    return StepTimeoutError(text % {"seconds": f"{seconds:.1f}", "timeout": f"{timeout:g}"})


class _Awaited:
    """A coroutine that is awaited in an event loop of its own, until its time is up."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], run: RunContext, timeout: float
    ) -> None:
        self.coroutine = coroutine
        self.run = run
        self.timeout = timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None

    async def answer(self) -> Any:
        """Return the answer; a heartbeat of the run begins its time anew."""
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(self.coroutine)
        while not self.task.done():
            left = self.run.alive_at + self.timeout - time.perf_counter()
            if left <= 0:
                text = gettext("The call was interrupted after its time-out of %(timeout)s s.")
                raise StepTimeoutError(text % {"timeout": f"{self.timeout:g}"})
            await asyncio.wait({self.task}, timeout=left)
        return self.task.result()

    def cancel(self) -> None:
        """End what is still being done, such as where this thread was interrupted."""
        if self.task is None or self.loop is None:
            self.coroutine.close()
        elif not self.task.done() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)
