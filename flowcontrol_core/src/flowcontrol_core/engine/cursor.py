"""Where a run is: a stack of frames, one for each step from the outermost to the present one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from flowcontrol_core.engine.codec import decode, encode
from flowcontrol_core.errors import StateError

#: ``run`` and ``return``: call that method next; ``inside``: a sub-step is being executed;
#: ``behind``: the step is done, go on behind it.
Phase = Literal["run", "return", "inside", "behind"]
_PHASES = ("run", "return", "inside", "behind")


class Frame(NamedTuple):
    """One step that a run is in; never changed in place (a tuple, because many are made).

    ``memo`` is the step's own JSON; ``variables`` are the state keys that vanish with the frame;
    ``tries`` counts failed calls of the present one, ``passes`` how often a branch was entered;
    ``calling`` is set while an external call is out; ``wakeup`` is what woke the run, kept for a
    call that is made again.
    """

    step: str
    phase: Phase = "run"
    branch: str | None = None
    memo: Mapping[str, Any] = {}
    variables: tuple[str, ...] = ()
    tries: int = 0
    passes: int = 0
    calling: bool = False
    wakeup: Mapping[str, Any] | None = None


Cursor = tuple[Frame, ...]


def cursor_to_json(cursor: Cursor) -> list[dict[str, Any]]:
    """Give the cursor as one JSON value; fields with their default are left out."""
    return [_frame_to_json(frame) for frame in cursor]


def cursor_from_json(data: Any) -> Cursor:
    """Read a stored cursor; raises StateError where it is damaged."""
    if not isinstance(data, list):
        raise StateError(f"The stored cursor is no list: {data!r}. Restart the run at a step.")
    try:
        return tuple(_frame_from_json(item) for item in data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"The stored cursor cannot be read ({error!r}). Restart the run at a step."
        ) from error


def _frame_to_json(frame: Frame) -> dict[str, Any]:
    data: dict[str, Any] = {"step": frame.step, "phase": frame.phase}
    if frame.branch is not None:
        data["branch"] = frame.branch
    if frame.memo:
        data["memo"] = encode(dict(frame.memo))
    if frame.variables:
        data["variables"] = list(frame.variables)
    if frame.wakeup:
        data["wakeup"] = encode(dict(frame.wakeup))
    for name in ("tries", "passes", "calling"):
        if value := getattr(frame, name):
            data[name] = value
    return data


def _frame_from_json(data: dict[str, Any]) -> Frame:
    if data["phase"] not in _PHASES:
        raise ValueError(f"unknown phase {data['phase']!r}")
    return Frame(
        step=data["step"],
        phase=data["phase"],
        branch=data.get("branch"),
        memo=dict(decode(data.get("memo", {}))),
        variables=tuple(data.get("variables", ())),
        tries=int(data.get("tries", 0)),
        passes=int(data.get("passes", 0)),
        calling=bool(data.get("calling", False)),
        wakeup=decode(data["wakeup"]) if "wakeup" in data else None,
    )
