"""Whether this process was asked to stop: claimed runs that have not begun are given back."""

from __future__ import annotations

import threading

_stop = threading.Event()


def request_stop() -> None:
    """Ask the sweeps of this process to stop after the run that they are at."""
    _stop.set()


def should_stop() -> bool:
    """Say whether the process was asked to stop."""
    return _stop.is_set()


def clear_stop() -> None:
    """Forget the request."""
    _stop.clear()
