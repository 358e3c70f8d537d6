"""Associate triggers with flows: what makes runs start, wake, or go back to a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.db.models import Model

from flowcontrol_core.actions.config import read_config, unknown_fields
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import ConfigError, DocumentError, ExpressionError, Problem
from flowcontrol_core.expressions import check_names, compile_expression
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.drafts import present_document
from flowcontrol_core.flows.step_checks import expression_problem
from flowcontrol_core.models import Flow, FlowTrigger, Mode

MAX_CONDITION = 1_000


def associate_trigger(
    flow: Flow,
    trigger_key: str,
    *,
    mode: str = Mode.START,
    condition: str = "",
    config: Mapping[str, Any] | None = None,
    step: str = "",
    active: bool = True,
) -> FlowTrigger:
    """Associate a trigger with a flow; the same one may be associated any number of times.

    ``config`` is that of the trigger's own form (``stored_config``); ``step`` is the target of
    the mode ``restart``. Raises DocumentError with the problems by field.
    """
    association = FlowTrigger(
        flow=flow,
        trigger=trigger_key,
        mode=mode,
        condition=condition,
        config=dict(config or {}),
        step=step,
        active=active,
    )
    _refuse(check_association(association, present_document(flow)))
    association.save(force_insert=True)
    return association


def change_trigger(association: FlowTrigger, **changes: Any) -> FlowTrigger:
    """Change ``mode``, ``condition``, ``config``, ``step`` or ``active``, and nothing else.

    Raises DocumentError with the problems by field. Switching it off is always possible.
    """
    unknown = sorted(set(changes) - _CHANGEABLE)
    if unknown:
        message = f"cannot be changed; possible are {', '.join(sorted(_CHANGEABLE))}."
        raise DocumentError([Problem(name, message, field=name) for name in unknown])
    for name, value in changes.items():
        setattr(association, name, value)
    if changes != {"active": False}:
        _refuse(check_association(association, present_document(association.flow)))
    association.save(update_fields=list(changes))
    return association


def remove_trigger(association: FlowTrigger) -> None:
    """End an association; runs that it started go on."""
    association.delete()


def check_association(association: FlowTrigger, document: Document) -> list[Problem]:
    """List what is wrong with an association, by field, for a flow with this document."""
    problems = _mode_problems(association, document)
    entry = registry.triggers.get(association.trigger)
    if entry is None:
        message = (
            f"No trigger {association.trigger!r} is registered. Choose another one, or install "
            "the plugin it belongs to."
        )
        problems.insert(0, Problem("trigger", message, field="trigger"))
    else:
        problems += _object_problems(entry.trigger, document)
        problems += _config_problems(association, entry.trigger, document)
    model = _model((entry.trigger.model if entry else "") or document.object or "")
    return problems + _condition_problems(association.condition, model)


def check_associations(flow: Flow, document: Document) -> list[Problem]:
    """List the active associations of a flow that would fail with this document."""
    problems: list[Problem] = []
    for association in FlowTrigger.objects.filter(flow=flow, active=True):
        found = _mode_problems(association, document)
        entry = registry.triggers.get(association.trigger)
        if entry is not None:
            found += _object_problems(entry.trigger, document)
        problems += [
            Problem(f"triggers.{association.trigger}", problem.message, field=problem.field)
            for problem in found
        ]
    return problems


_CHANGEABLE = frozenset({"mode", "condition", "config", "step", "active"})


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DocumentError(problems)


def _mode_problems(association: FlowTrigger, document: Document) -> list[Problem]:
    if association.mode not in Mode.values:
        message = f"is {association.mode!r}, but must be one of {', '.join(Mode.values)}."
        return [Problem("mode", message, field="mode")]
    if association.mode != Mode.GO_TO:
        message = f"A step is the target of the mode {Mode.GO_TO.value!r} only; leave it empty."
        return [Problem("step", message, field="step")] if association.step else []
    message = _target_problem(association.step, document)
    return [Problem("step", message, association.step, "step")] if message else []


def _target_problem(step_id: str, document: Document) -> str:
    """Say why runs cannot be sent back to a step; empty where they can."""
    if not step_id:
        return "Choose the step that runs are sent back to."
    around = _ancestors(step_id, document)
    if around is None:
        return f"The flow has no step {step_id!r} that runs could be sent back to; choose another."
    if any(_is_loop(step) for step in around):
        return (
            f"The step {step_id!r} is inside of a loop, so runs cannot be sent back to it; choose "
            "the loop itself, or a step outside of it."
        )
    return ""


def _ancestors(step_id: str, document: Document) -> list[Step] | None:
    """Give the steps around a step, the nearest first; ``None`` where there is no such step."""
    parents = {visit.step.id: visit.parent for visit in document.walk()}
    if step_id not in parents:
        return None
    found = []
    parent = parents[step_id]
    while parent is not None:
        found.append(parent)
        parent = parents[parent.id]
    return found


def _is_loop(step: Step) -> bool:
    return registry.knows_action(step.action) and registry.get_action(step.action).action.is_loop


def _object_problems(trigger: Trigger, document: Document) -> list[Problem]:
    comes_with, about = trigger.model.lower(), document.object or ""
    if not comes_with or not about or comes_with == about:
        return []
    message = (
        f"The trigger comes with objects of {comes_with!r}, but the flow is about {about!r}. "
        "Choose another trigger, or that model for the flow."
    )
    return [Problem("trigger", message, field="trigger")]


def _config_problems(
    association: FlowTrigger, trigger: Trigger, document: Document
) -> list[Problem]:
    try:
        read_config(trigger.Config, association.config, zone_of(document))
    except ConfigError as error:
        return [
            Problem(f"config.{name}", message, field=name)
            for name, messages in error.errors.items()
            for message in messages
        ]
    return [
        Problem(f"config.{name}", "The trigger has no such field; remove it.", field=name)
        for name in unknown_fields(trigger.Config, association.config)
    ]


def _condition_problems(condition: str, model: type[Model] | None) -> list[Problem]:
    if len(condition) > MAX_CONDITION:
        messages = [f"has {len(condition):,} characters; at most {MAX_CONDITION:,} are possible."]
    elif not condition:
        return []
    else:
        try:
            # A condition is looked at before there is a run: it has no state.
            messages = check_names(compile_expression(condition), model=model, state_names=())
        except ExpressionError as error:
            messages = [expression_problem(error)]
    return [Problem("condition", message, field="condition") for message in messages]


def _model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None
