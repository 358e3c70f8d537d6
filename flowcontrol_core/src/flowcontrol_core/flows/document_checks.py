"""Everything that would fail when a flow runs and can be known before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import Model

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.parse import parse
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.document.values import child_path
from flowcontrol_core.errors import DocumentError, ExpressionError, Problem
from flowcontrol_core.expressions import check_names, compile_expression
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.step_checks import (
    CheckedStep,
    Question,
    check_flows,
    check_step,
    check_triggers,
    expression_problem,
)
from flowcontrol_core.models import Flow


def check_document(document: Document, *, flow: Flow | None = None) -> list[Problem]:
    """List what would fail at run time, in reading order; empty for a sound document.

    Disabled steps, and what is inside them, are not looked at. Code of a plugin that raises
    while it is asked is a problem of its step and never an error here. ``flow`` is the one the
    document belongs to.
    """
    return list(inspect_document(document, flow=flow).problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a look at a document finds: its problems, and the triggers that its steps wait for."""

    problems: tuple[Problem, ...]
    waits_for: frozenset[str]


def inspect_document(document: Document, *, flow: Flow | None = None) -> Inspection:
    """Look at a document as ``check_document`` does, and tell more."""
    model, problems = _model(document)
    problems += _guard_problems(document, model)
    checking = _Checking(zone_of(document), document.object or "", model)
    checking.check_list(document.steps, _Spot("steps", inside_loop=False))
    problems += checking.problems
    waits_for, found = check_triggers(checking.checked)
    problems += found + check_flows(checking.checked, flow)
    return Inspection(problems=tuple(problems), waits_for=waits_for)


class _Spot(NamedTuple):
    """A list of steps: its path, and whether LEAVE and BREAK find a loop around it."""

    path: str
    inside_loop: bool


@dataclass(slots=True)
class _Checking:
    """One pass over the steps; ``checked`` are those whose configuration can be read."""

    zone: tzinfo
    object_type: str
    model: type[Model] | None
    problems: list[Problem] = field(default_factory=list)
    checked: list[CheckedStep] = field(default_factory=list)

    def check_list(self, steps: tuple[Step, ...], spot: _Spot) -> None:
        for index, step in enumerate(steps):
            if not step.disabled:
                self._check_step(step, f"{spot.path}[{index}]", spot.inside_loop)

    def _check_step(self, step: Step, path: str, inside_loop: bool) -> None:
        question = Question(step, path, self.zone, self.object_type, self.model, inside_loop)
        problems, checked = check_step(question)
        self.problems += problems
        if checked is not None:
            self.checked.append(checked)
        inside = _Spot(path, inside_loop or _may_be_loop(step))
        for branch, steps in step.branches.items():
            self.check_list(steps, inside._replace(path=child_path(f"{path}.branches", branch)))


def _may_be_loop(step: Step) -> bool:
    """Say whether the action is a loop; a missing one, reported as such, may be."""
    if not registry.knows_action(step.action):
        return True
    return registry.get_action(step.action).action.is_loop


def _model(document: Document) -> tuple[type[Model] | None, list[Problem]]:
    if not document.object:
        return None, []
    try:
        return apps.get_model(document.object), []
    except (LookupError, ValueError):
        message = (
            f"There is no model {document.object!r} here. Choose another one, or add its app to "
            "INSTALLED_APPS."
        )
        return None, [Problem("object", message, field="object")]


def _guard_problems(document: Document, model: type[Model] | None) -> Iterator[Problem]:
    if not document.guard:
        return
    try:
        names = check_names(compile_expression(document.guard), model=model)
    except ExpressionError as error:
        names = [expression_problem(error)]
    for message in names:
        yield Problem("guard", message, field="guard")


def check_options(
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
) -> list[Problem]:
    """List what is wrong with the model, the guard or the time zone of a flow, by field."""
    data: dict[str, Any] = {"format": 1, "object": object, "guard": guard, "steps": []}
    data["time_zone"] = time_zone
    try:
        document: Document = parse(data)
    except DocumentError as error:
        return list(error.problems)
    return check_document(document)
