"""What is probably wrong with a flow: shown before it is published, and no obstacle to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.reader import drain
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import Problem
from flowcontrol_core.flows.document_checks import empty_loops, find_model, questions_of
from flowcontrol_core.flows.step_checks import (
    CheckedStep,
    check_step,
    expression_problems,
    name_problems,
)
from flowcontrol_core.models import Flow, FlowTrigger


def find_warnings(document: Document, *, flow: Flow | None = None) -> list[Problem]:
    """Return what is probably wrong with a document, in reading order.

    These are loops without steps, and names in expressions that nothing in the flow brings: no
    step, no loop, and no payload of its triggers. ``flow`` is the one the document belongs to;
    without it, the names of payloads are not checked. Steps that have problems are left out.
    """
    questions = questions_of(document, find_model(document.object or ""))
    checked = [drain(check_step(question))[1] for question in questions]
    names = _unknown_names(document, [step for step in checked if step], flow)
    return [*empty_loops(document), *names]


def _unknown_names(
    document: Document, steps: Sequence[CheckedStep], flow: Flow | None
) -> Iterator[Problem]:
    known: dict[str, Any] = {
        "state_names": _answers(steps, "sets_state") | _answers(steps, "sets_variables"),
        "payload_names": _payload_names(steps, flow) if flow else None,
    }
    remedy = gettext(
        "Nothing in the flow brings it. Correct it, unless what starts the flow brings it."
    )
    guard = "" if expression_problems(document.guard, None) else document.guard
    for message in expression_problems(guard, None, **known):
        yield Problem("guard", f"{message} {remedy}", field="guard")
    for association in FlowTrigger.objects.filter(flow=flow, active=True) if flow else ():
        for message in _unknown_in_condition(association):
            place = f"triggers.{association.trigger}"
            yield Problem(place, f"{message} {remedy}", field="condition")
    for step in steps:
        for problem in name_problems(step.question, step.computed, model=None, **known):
            yield replace(problem, message=f"{problem.message} {remedy}")


def _unknown_in_condition(association: FlowTrigger) -> list[str]:
    entry = registry.triggers.get(association.trigger)
    if entry is None or expression_problems(association.condition, None):
        return []
    payload_names = frozenset(entry.trigger.payload) or None
    return expression_problems(association.condition, None, payload_names=payload_names)


def _answers(steps: Sequence[CheckedStep], method: str) -> frozenset[str]:
    """Return what the actions of all steps answer together."""
    return frozenset(text for step in steps for text in drain(step.ask(method))[1])


def _payload_names(steps: Sequence[CheckedStep], flow: Flow) -> frozenset[str] | None:
    """Return the keys that a payload can have; ``None`` where a trigger does not declare them."""
    keys = {*FlowTrigger.objects.filter(flow=flow, active=True).values_list("trigger", flat=True)}
    names: set[str] = set()
    for key in keys | _answers(steps, "waits_for"):
        entry = registry.triggers.get(key)
        if entry is None or not entry.trigger.payload:
            return None
        names.update(entry.trigger.payload)
    return frozenset(names)
