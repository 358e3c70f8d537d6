"""What is drawn over a diagram: where a run has been, or what changed between two versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from flowcontrol_admin.diagram.place import Passage
from flowcontrol_admin.diagram.plan import ListKey, Plan


class Mark(NamedTuple):
    """What a step is marked with: a word, and the icon that repeats it."""

    label: str | Promise
    icon: str


#: By the names that the style uses.
RUN_MARKS: Mapping[str, Mark] = {
    "done": Mark(_("Done"), "check"),
    "current": Mark(_("In progress"), "play"),
    "waiting": Mark(_("Waits here"), "clock"),
    "failed": Mark(_("Failed"), "cross"),
    "skipped": Mark(_("Skipped"), "skip"),
    "never": Mark(_("Not reached"), "never"),
}
DIFF_MARKS: Mapping[str, Mark] = {
    "added": Mark(_("Added"), "plus"),
    "removed": Mark(_("Removed"), "never"),
    "changed": Mark(_("Changed"), "pencil"),
    "moved": Mark(_("Moved"), "move"),
}
_PASSED = frozenset({"done", "skipped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What is known of each step; ``kind`` is ``run`` or ``diff``.

    Of a run, ``counts`` says how often a step was called, ``entered`` which branches it took, and
    ``is_complete`` whether it came to the end of the flow.
    """

    kind: str = "run"
    marks: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    entered: frozenset[ListKey] = frozenset()
    is_complete: bool = False

    def mark(self, step: str) -> str:
        """Return the name of the mark of a step; empty where it has none."""
        return self.marks.get(step, "never" if self.kind == "run" else "")

    def has_reached(self, step: str) -> bool:
        """Return whether the run came to a step."""
        return self.mark(step) != "never"

    def is_taken(self, plan: Plan, passage: Passage) -> bool:
        """Return whether the run went along a rail."""
        if self.kind != "run":
            return False
        kind, step, branch = passage
        if kind == "after":
            return self.is_complete
        if kind == "to":
            return self.has_reached(step)
        steps = plan.inside(step, branch)
        is_in = any(map(self.has_reached, steps[:1])) or ListKey(step, branch) in self.entered
        if kind == "lane":
            return is_in
        has_turned = plan.faces[step].is_loop and self.counts.get(step, 0) > 1
        return is_in and (has_turned or self._came_out(step, steps))

    def _came_out(self, step: str, steps: tuple[str, ...]) -> bool:
        is_passed = self.mark(step) in _PASSED
        return is_passed and all(self.mark(each) in _PASSED for each in steps[-1:])


def legend(overlay: Overlay) -> Iterable[tuple[str, Mark]]:
    """Return the marks that an overlay may use, for the legend."""
    return (RUN_MARKS if overlay.kind == "run" else DIFF_MARKS).items()
