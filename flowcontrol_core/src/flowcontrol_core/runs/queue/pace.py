"""How many runs a claim takes: as many as are executed in a short time, at the present pace.

So that a claim of slow runs leaves others to other workers, and one of fast runs is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowcontrol_core.conf import get_settings

#: The time in seconds that the runs of a claim are to take; what it has not begun then goes back.
TURN = 0.2
#: How many runs are claimed while it is not known how long they take.
FIRST = 10


@dataclass(slots=True)
class Pace:
    """The pace of one sweep, by what its last claim has executed."""

    _size: int = FIRST

    def size(self, most: int) -> int:
        """Return how many runs the next claim takes, at most so many."""
        return min(self._size, get_settings().CLAIM_BATCH, most)

    def learn(self, executed: int, seconds: float) -> None:
        """Take note of how many runs were executed, and how long that took."""
        if executed:
            self._size = max(1, int(executed * TURN / max(seconds, 1e-6)))
