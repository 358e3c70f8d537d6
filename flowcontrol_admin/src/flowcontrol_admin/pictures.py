"""The picture and the colour of a step: from what its action says and declares."""

from __future__ import annotations

from typing import NamedTuple

from flowcontrol.base import BaseAction
from flowcontrol.flows import step_icon
from flowcontrol.registry import registry
from flowcontrol_core.document.tree import Step

#: The icons that an action may name, each with the kind that colours the step.
KINDS = {
    "branch": "choice",
    "switch": "choice",
    "repeat": "loop",
    "each": "loop",
    "parallel": "par",
    "try": "par",
    "clock": "wait",
    "event": "wait",
    "mail": "msg",
    "message": "msg",
    "stop": "end",
    "leave": "end",
    "up": "end",
    "braces": "data",
    "flow": "data",
    "box": "data",
    "card": "data",
    "document": "data",
    "person": "data",
    "gear": "data",
    "globe": "data",
}
#: What ends a branch or the run: the rail does not continue below it.
ENDS = frozenset({"stop", "leave", "up"})


class Picture(NamedTuple):
    """How a step is drawn: ``icon`` is a symbol of ``icons.svg``, ``kind`` a class ``k-…``."""

    icon: str
    kind: str
    #: Whether it contains steps: its icon is filled.
    is_container: bool = False
    is_loop: bool = False

    @property
    def ends(self) -> bool:
        """Return whether the run does not continue with the step below it."""
        return self.icon in ENDS


def picture_of(step: Step) -> Picture:
    """Return how a step is drawn; one whose action is missing has the icon ``missing``."""
    if not registry.knows_action(step.action):
        return Picture("missing", "data", is_container=bool(step.branches))
    action = registry.get_action(step.action).action
    icon = _icon(step_icon(step), action)
    is_container = bool(action.branch_names())
    return Picture(icon, KINDS[icon], is_container, action.is_loop)


def picture_of_action(key: str) -> Picture:
    """Return how a new step with that action is drawn."""
    return picture_of(Step(id="new", action=key))


def _icon(named: str, action: BaseAction) -> str:
    """Return the icon that the action names, or one that follows from what it declares."""
    if named in KINDS:
        return named
    if action.is_loop:
        return "repeat"
    return "branch" if action.branch_names() else "gear"
