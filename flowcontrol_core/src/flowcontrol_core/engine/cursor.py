"""Where a run is: a stack of frames, one for each step from the outermost to the present one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

#: ``run`` and ``return``: call that method next; ``inside``: a sub-step is being executed;
#: ``after``: the step is done, the run continues after it.
Phase = Literal["run", "return", "inside", "after"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class Frame(NamedTuple):
    """One step that a run is in; never changed in place (a tuple, because many are made).

    ``memo`` is the step's own JSON; ``hidden`` has the state keys that are its variables, each with
    a list of the value that the variable hides (empty: there was none), given back with the frame;
    ``tries`` counts failed calls of the present one, ``passes`` how often a branch was entered;
    ``calling`` is set during an external call; ``wakeup`` is what woke the run, for a call that is
    made again.
    """

    step: str
    phase: Phase = "run"
    branch: str | None = None
    memo: Mapping[str, Any] = {}
    hidden: Mapping[str, list[Any]] = {}
    tries: int = 0
    passes: int = 0
    calling: bool = False
    wakeup: Mapping[str, Any] | None = None


Cursor = tuple[Frame, ...]
