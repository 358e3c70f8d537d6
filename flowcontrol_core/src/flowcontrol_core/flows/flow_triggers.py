"""Associate triggers with flows: what makes runs start, wake, or go to a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import DatabaseError
from django.utils.translation import gettext

from flowcontrol_core.actions.config import read_config, unknown_fields
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import (
    ConfigError,
    DocumentError,
    Problem,
    UnknownZoneError,
    UnmigratedError,
)
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.document_checks import find_model
from flowcontrol_core.flows.drafts import Author, present_document
from flowcontrol_core.flows.permissions import refuse_live_change
from flowcontrol_core.flows.step_checks import expression_problems, is_loop
from flowcontrol_core.models import Flow, FlowTrigger, Mode
from flowcontrol_core.tables import explain, require_migrated

#: What an association consists of, beside its flow.
COLUMNS = ("trigger", "mode", "active", "condition", "config", "step")


def associate_trigger(
    flow: Flow,
    trigger_key: str,
    *,
    mode: str = Mode.START,
    condition: str = "",
    config: Mapping[str, Any] | None = None,
    step: str = "",
    active: bool = True,
    author: Author = None,
) -> FlowTrigger:
    """Associate a trigger with a flow; the same one may be associated any number of times.

    ``config`` is that of the trigger's own form (``stored_config``); ``step`` is the target of
    the mode ``go_to``. Raises NotPermittedError where the author may not change a live flow, and
    DocumentError with the problems by field.
    """
    refuse_live_change(flow, author)
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


def change_trigger(
    association: FlowTrigger, *, author: Author = None, **changes: Any
) -> FlowTrigger:
    """Change ``mode``, ``condition``, ``config``, ``step`` or ``active``, and nothing else.

    Raises NotPermittedError where the author may not change a live flow, and DocumentError with
    the problems by field. What is no longer valid can be switched off.
    """
    refuse_live_change(association.flow, author)
    possible = sorted({*COLUMNS} - {"trigger"})
    message = gettext("cannot be changed; possible are %(names)s.") % {"names": ", ".join(possible)}
    unknown = [Problem(name, message, field=name) for name in sorted(set(changes) - {*possible})]
    _refuse(unknown)
    for name, value in changes.items():
        setattr(association, name, value)
    if changes != {"active": False}:
        _refuse(check_association(association, present_document(association.flow)))
    association.save(update_fields=list(changes))
    return association


def remove_trigger(association: FlowTrigger, *, author: Author = None) -> None:
    """End an association; runs that it started continue.

    Raises NotPermittedError where the author may not change a live flow.
    """
    refuse_live_change(association.flow, author)
    association.delete()


def check_association(association: FlowTrigger, document: Document) -> list[Problem]:
    """Return what is wrong with an association, by field, for a flow with this document."""
    return list(_problems(association, document))


def check_associations(flow: Flow, document: Document) -> list[Problem]:
    """Return what is wrong with the active associations of a flow for this document."""
    return [
        Problem(f"triggers.{association.trigger}", problem.message, field=problem.field)
        for association in FlowTrigger.objects.filter(flow=flow, active=True)
        for problem in _document_problems(association, document)
    ]


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DocumentError(problems)


def _problems(association: FlowTrigger, document: Document) -> Iterator[Problem]:
    entry = registry.triggers.get(association.trigger)
    if entry is None:
        text = gettext(
            "No trigger %(trigger)r is registered. Choose another one, or install the plugin it "
            "belongs to."
        )
        yield Problem("trigger", text % {"trigger": association.trigger}, field="trigger")
    yield from _document_problems(association, document)
    if entry is not None:
        yield from _config_problems(association, entry.trigger, document)
    model = find_model((entry.trigger.model if entry else "") or document.object or "")
    # A condition is evaluated before there is a run: it has no state.
    for message in expression_problems(association.condition, model, state_names=()):
        yield Problem("condition", message, field="condition")


def _document_problems(association: FlowTrigger, document: Document) -> Iterator[Problem]:
    """Yield what of the document does not fit: the step to go to, and the model."""
    if association.mode not in Mode.values:
        text = gettext("is %(mode)r, but must be one of %(modes)s.")
        words = {"mode": association.mode, "modes": ", ".join(Mode.values)}
        yield Problem("mode", text % words, field="mode")
    elif message := _target_problem(association.mode, association.step, document):
        yield Problem("step", message, association.step, "step")
    entry = registry.triggers.get(association.trigger)
    comes_with = entry.trigger.model.lower() if entry else ""
    if comes_with and document.object and comes_with != document.object:
        text = gettext(
            "The trigger comes with objects of %(model)r, but the flow is about %(object)r. Choose "
            "another trigger, or that model for the flow."
        )
        words = {"model": comes_with, "object": document.object}
        yield Problem("trigger", text % words, field="trigger")


def _target_problem(mode: str, step_id: str, document: Document) -> str:
    """Return why an association cannot have this step as its target; empty where it can."""
    if mode != Mode.GO_TO:
        text = gettext("A step is the target of the mode %(mode)r only; leave it empty.")
        return text % {"mode": Mode.GO_TO.value} if step_id else ""
    if not step_id:
        return gettext("Choose the step that runs are sent to.")
    if step_id not in document.index:
        text = gettext("The flow has no step %(step)r; choose another one.")
        return text % {"step": step_id}
    if any(is_loop(step, if_missing=False) for step in document.index[step_id].ancestors):
        text = gettext(
            "The step %(step)r is inside of a loop, so runs cannot be sent to it; choose the loop "
            "itself, or a step outside of it."
        )
        return text % {"step": step_id}
    return ""


def _config_problems(
    association: FlowTrigger, trigger: Trigger, document: Document
) -> Iterator[Problem]:
    try:
        require_migrated(trigger.Config)
        read_config(trigger.Config, association.config, zone_of(document))
    except ConfigError as error:
        found = [(name, text) for name, texts in error.errors.items() for text in texts]
    except UnknownZoneError as error:
        found = [("time_zone", str(error))]
    except (UnmigratedError, DatabaseError) as error:
        yield Problem("trigger", str(explain(error) or error), field="trigger")
        return
    else:
        text = gettext("The trigger has no such field; remove it.")
        found = [(name, text) for name in unknown_fields(trigger.Config, association.config)]
    for name, message in found:
        yield Problem(f"config.{name}", message, field=name)
