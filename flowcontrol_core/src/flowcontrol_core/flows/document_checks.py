"""What would fail when a flow runs, as far as it is known before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import NamedTuple

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext

from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.reader import Reading, drain
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, Problem, UnknownZoneError
from flowcontrol_core.flows.step_checks import (
    Question,
    check_flows,
    check_step,
    check_triggers,
    check_variables,
    expression_problems,
    is_loop,
)
from flowcontrol_core.models import Flow
from flowcontrol_core.zones import find_zone


def check_document(
    document: Document, *, flow: Flow | None = None, step: str = ""
) -> list[Problem]:
    """Return what would fail at run time, in reading order; empty for a sound document.

    Disabled steps, and what is inside them, are not checked. Code of a plugin that raises while
    it is asked is a problem of its step and never an error here. ``flow`` is the one the document
    belongs to. With the id of a ``step``, only that step is checked.
    """
    problems, _inspection = drain(_inspect(document, flow, step))
    return [problem for problem in problems if not step or problem.step == step]


class Inspection(NamedTuple):
    """What is known of a document after it was checked.

    ``waits_for`` are the keys of the triggers that its steps wait for; ``configs`` are the
    configurations of the steps that can be read, by id.
    """

    waits_for: frozenset[str] = frozenset()
    configs: Mapping[str, BoundConfig] = MappingProxyType({})


def inspect_document(
    document: Document, *, flow: Flow | None = None
) -> tuple[list[Problem], Inspection]:
    """Return what ``check_document`` does, and what is known of the document then."""
    return drain(_inspect(document, flow))


def _inspect(document: Document, flow: Flow | None, only: str = "") -> Reading[Inspection]:
    model = find_model(document.object or "")
    if document.object and model is None:
        text = gettext(
            "There is no model %(model)r here. Choose another one, or add its app to "
            "INSTALLED_APPS."
        )
        yield Problem("object", text % {"model": document.object}, field="object")
    for message in expression_problems(document.guard, model):
        yield Problem("guard", message, field="guard")
    zone, sound = (yield from _zone_of(document)), []
    # What a step hides is said by the steps around it.
    wanted = {visit.step.id for visit in document.visit(only).lineage} if only else document.index
    for question in questions_of(document, model, zone):
        if question.visit.step.id not in wanted:
            continue
        step = yield from check_step(question)
        if step is not None:
            sound.append(step)
    waits_for = yield from check_triggers(sound)
    yield from check_variables(sound)
    yield from check_flows(sound, flow)
    return Inspection(waits_for, {step.question.visit.step.id: step.config for step in sound})


def empty_loops(document: Document) -> list[Problem]:
    """Return a warning for each loop without steps: it repeats nothing, perhaps without an end."""
    text = gettext(
        "There are no steps in the loop. While nothing changes, it ends only as an error. Add a "
        "step, or disable the loop."
    )
    return [
        question.problem(text)
        for question in questions_of(document, None)
        if is_loop(question.visit.step, if_missing=False)
        if all(step.disabled for inside in question.visit.step.branches.values() for step in inside)
    ]


def _zone_of(document: Document) -> Reading[tzinfo]:
    """Return the time zone of a flow; one that is unknown is a problem, and the site's is used."""
    try:
        return find_zone(document.time_zone)
    except UnknownZoneError as error:
        yield Problem("time_zone", str(error), field="time_zone")
        return find_zone(None)


def questions_of(
    document: Document, model: type[Model] | None, zone: tzinfo | None = None
) -> Iterator[Question]:
    """Yield what is asked about each step that can be executed, in reading order."""
    known = zone or drain(_zone_of(document))[1]
    object_type = document.object or ""
    for visit in document.index.values():
        if not any(around.step.disabled for around in visit.lineage):
            yield Question(visit=visit, zone=known, object_type=object_type, model=model)


def find_model(label: str) -> type[Model] | None:
    """Return the model of a label such as ``shop.customer``; None where it is not installed."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def check_options(
    *,
    object: str | None,  # noqa: A002 - the word of the document
    guard: str,
    time_zone: str | None,
) -> list[Problem]:
    """Return what is wrong with the model, the guard or the time zone of a flow, by field."""
    options = {"object": object, "guard": guard, "time_zone": time_zone}
    try:
        return check_document(parse({"format": Document.FORMAT, "steps": [], **options}))
    except DocumentError as error:
        return list(error.problems)
