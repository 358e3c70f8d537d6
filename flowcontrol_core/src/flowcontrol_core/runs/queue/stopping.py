"""Whether this process was asked to stop: claimed runs that have not begun are given back."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class _Request:
    """The request. A signal handler may make it at any instant, so it takes no lock.

    ``threading.Event`` would not do: a handler that calls ``set()`` while the same thread is
    inside of ``wait()`` may wait for itself. A SimpleQueue is made for this.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.made = False
        self.bell: SimpleQueue[None] = SimpleQueue()


_request = _Request()


def request_stop() -> None:
    """Ask the sweeps of this process to stop after the run that they are at."""
    _request.made = True
    _request.bell.put(None)


def should_stop() -> bool:
    """Say whether the process was asked to stop."""
    return _request.made


def wait_for_stop(seconds: float) -> bool:
    """Wait, at most so long, to be asked to stop; say whether that is so."""
    if not _request.made and seconds > 0:
        bell = _request.bell
        try:
            bell.get(timeout=seconds)
        except Empty:
            return _request.made
        # Other threads of this process may be waiting too.
        bell.put(None)
    return _request.made


def clear_stop() -> None:
    """Forget the request."""
    _request.clear()
