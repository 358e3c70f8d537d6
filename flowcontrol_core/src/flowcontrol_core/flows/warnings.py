"""What is probably wrong with a flow: shown before it is published, and no obstacle to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.reader import drain
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import ExpressionError, Problem
from flowcontrol_core.expressions import compile_expression
from flowcontrol_core.expressions.scope import OBJECT_NAMES
from flowcontrol_core.flows.descriptions import Describer
from flowcontrol_core.flows.document_checks import empty_loops, find_model, questions_of
from flowcontrol_core.flows.step_checks import (
    CheckedStep,
    check_step,
    expression_problems,
    name_problems,
)
from flowcontrol_core.models import Flow, FlowTrigger, Mode

#: At most this many steps are named in one warning.
MOST_NAMED = 5
#: What a text template evaluates, short enough to be shown.
_PLACEHOLDER = re.compile(r"\{\{[^{}\n]{1,80}\}\}|\{%[^{}\n]{1,80}%\}")


def find_warnings(document: Document, *, flow: Flow | None = None) -> list[Problem]:
    """Return what is probably wrong with a document, in reading order.

    These are loops without steps, names in expressions that nothing in the flow brings (no step,
    no loop, and no payload of its triggers), triggers that bring no object where one is used, and
    placeholders in values that are not evaluated.
    ``flow`` is the one the document belongs to; without it, neither its triggers nor the names of
    payloads are checked. Steps that have problems are left out.
    """
    steps = checked_steps(document)
    found = active_triggers(flow) if flow else None
    objects = [
        Problem(f"triggers.{association.trigger}", message, field="trigger")
        for association in found or ()
        for message in _missing_object(association, document, steps)
    ]
    names = _unknown_names(document, steps, found)
    return [*empty_loops(document), *objects, *names, *_placeholders(steps)]


def active_triggers(flow: Flow) -> list[FlowTrigger]:
    """Return the triggers of a flow that are switched on."""
    return [*FlowTrigger.objects.filter(flow=flow, active=True)]


def association_warnings(association: FlowTrigger, document: Document) -> list[str]:
    """Return what is probably wrong with a trigger for a flow with this document."""
    if not _is_without_object(association):
        return []
    return [*_missing_object(association, document, checked_steps(document))]


def checked_steps(document: Document) -> list[CheckedStep]:
    """Return the steps that can be executed and have no problems, in reading order."""
    questions = questions_of(document, find_model(document.object or ""))
    checked = [drain(check_step(question))[1] for question in questions]
    return [step for step in checked if step]


def _is_without_object(association: FlowTrigger) -> bool:
    entry = registry.triggers.get(association.trigger)
    return entry is not None and not entry.trigger.model


def _missing_object(
    association: FlowTrigger, document: Document, steps: Sequence[CheckedStep]
) -> Iterator[str]:
    """Yield a warning where a trigger brings no object, but its condition or the flow uses one."""
    if not _is_without_object(association):
        return
    trigger = registry.trigger_label(association.trigger)
    if _names_object(association.condition):
        text = gettext(
            "The trigger “%(trigger)s” brings no object, so “object” is empty in its condition. "
            "Use what its payload brings, or choose a trigger that brings an object."
        )
        yield text % {"trigger": trigger}
    words = Describer(document)
    users = [words.step(step.question.visit.step.id) for step in steps if _uses_object(step)]
    users = [gettext("the guard"), *users] if _names_object(document.guard) else users
    # Runs that exist already have the object that they were started with.
    if association.mode == Mode.START and users:
        text = gettext(
            "The trigger “%(trigger)s” brings no object, so “object” is empty in the runs that it "
            "starts. It is used by: %(users)s. Choose a trigger that brings an object, or do "
            "without it there."
        )
        more = ["…"] if len(users) > MOST_NAMED else []
        yield text % {"trigger": trigger, "users": ", ".join(users[:MOST_NAMED] + more)}


def _uses_object(step: CheckedStep) -> bool:
    paths = (getattr(evaluable, "places", ()) for evaluable in step.computed.values())
    return bool(step.action.object_type) or any(
        path[0] in OBJECT_NAMES for places in paths for path in places
    )


def _names_object(text: str) -> bool:
    try:
        names = compile_expression(text).names if text else ()
    except ExpressionError:
        return False
    return any(path[0] in OBJECT_NAMES for path in names)


def _unknown_names(
    document: Document,
    steps: Sequence[CheckedStep],
    associations: Sequence[FlowTrigger] | None,
) -> Iterator[Problem]:
    known: dict[str, Any] = {
        "state_names": state_names(steps),
        "payload_names": None if associations is None else payload_names(steps, associations),
    }
    remedy = remedy_for_unknown()
    guard = "" if expression_problems(document.guard, None) else document.guard
    for message in expression_problems(guard, None, **known):
        yield Problem("guard", f"{message} {remedy}", field="guard")
    for association in associations or ():
        for message in _unknown_in_condition(association):
            place = f"triggers.{association.trigger}"
            yield Problem(place, f"{message} {remedy}", field="condition")
    for step in steps:
        for problem in name_problems(step.question, step.computed, model=None, **known):
            yield replace(problem, message=f"{problem.message} {remedy}")


def remedy_for_unknown() -> str:
    """Return what to do about a name of the state or of a payload that nothing brings."""
    return gettext(
        "Nothing in the flow brings it. Correct it, unless what starts the flow brings it."
    )


def _unknown_in_condition(association: FlowTrigger) -> list[str]:
    entry = registry.triggers.get(association.trigger)
    if entry is None or expression_problems(association.condition, None):
        return []
    known = frozenset(entry.trigger.payload) or None
    return expression_problems(association.condition, None, payload_names=known)


def _placeholders(steps: Sequence[CheckedStep]) -> Iterator[Problem]:
    """Yield a warning for each value that contains a placeholder and is not evaluated."""
    text = gettext(
        "“%(text)s” is written like a placeholder, but this value stays as it is. Have it "
        "evaluated, where the step offers that, or write what is meant."
    )
    for step in steps:
        for name, value in step.question.visit.step.config.items():
            found = None if name in step.computed else _PLACEHOLDER.search(str(value))
            if found:
                yield step.question.problem(text % {"text": found[0]}, name)


def state_names(steps: Sequence[CheckedStep]) -> frozenset[str]:
    """Return the keys of the state that steps set, and the variables of loops."""
    return answers(steps, "sets_state") | answers(steps, "sets_variables")


def answers(steps: Sequence[CheckedStep], method: str) -> frozenset[str]:
    """Return what the actions of steps answer together."""
    return frozenset(text for step in steps for text in drain(step.ask(method))[1])


def payload_names(
    steps: Sequence[CheckedStep], associations: Sequence[FlowTrigger]
) -> frozenset[str] | None:
    """Return the keys that a payload can have; ``None`` where a trigger does not declare them."""
    keys = {association.trigger for association in associations}
    names: set[str] = set()
    for key in keys | answers(steps, "waits_for"):
        entry = registry.triggers.get(key)
        if entry is None or not entry.trigger.payload:
            return None
        names.update(entry.trigger.payload)
    return frozenset(names)
