"""Import of exported flows: into drafts, all or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.translation import gettext

from flowcontrol_core.actions.bound_step import upgraded_config
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.serialize import digest
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import DocumentError, FlowcontrolError, Problem
from flowcontrol_core.flows.changes import atomic
from flowcontrol_core.flows.drafts import edit_draft, present_document, published_version
from flowcontrol_core.flows.exports import MARKER, map_steps
from flowcontrol_core.flows.flow_triggers import check_association
from flowcontrol_core.flows.import_files import File, FileFlow, FileTrigger, placed, read_file
from flowcontrol_core.flows.lifecycle import activate as activate_flow
from flowcontrol_core.flows.lifecycle import change_flow, create_flow
from flowcontrol_core.flows.publication import is_unchanged
from flowcontrol_core.flows.publication import publish as publish_flow
from flowcontrol_core.models import Flow, FlowTrigger, FlowVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What the import of one flow has done, and what is left to do.

    ``withheld`` are the values that are not in the file and have to be entered; ``missing`` the
    plugins that have to be installed; ``notes`` are sentences about what else to know.
    """

    flow: Flow
    created: bool
    published: FlowVersion | None = None
    activated: bool = False
    withheld: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Importer(NamedTuple):
    """Whose permissions count for an import, and who is recorded."""

    author: AbstractBaseUser | None
    by: Any


_IMPORTED = "Imported."


def import_flows(
    text: str,
    *,
    author: AbstractBaseUser | None = None,
    by: Any = None,
    publish: bool = False,
    activate: bool = False,
) -> list[ImportResult]:
    """Import flows from exported YAML, each into a draft, in one transaction: all or none.

    A flow whose key is taken gets the file's document as its draft, its name and limits, and
    the flow triggers that it has not; what is published changes only with ``publish``. Plugins
    may be missing unless it does. It is recorded with ``by``, the author by default. Raises
    DocumentError, whose problems name the place in the file, PublishError, and EditError where
    the author may not place one of the actions.
    """
    file, who = read_file(text), Importer(author, by or author)
    with atomic():
        results = [_import(item, file, who, publish=publish) for item in file.flows]
        # Flows may start each other: all are there before the first is looked at.
        if publish:
            pairs = zip(file.flows, results, strict=True)
            results = [_publish(item, result, who) for item, result in pairs]
        if activate:
            results = [
                replace(result, flow=activate_flow(result.flow, by=who.by), activated=True)
                for result in results
            ]
    return results


def _import(item: FileFlow, file: File, who: Importer, *, publish: bool) -> ImportResult:
    found = Flow.objects.filter(key=item.key).first()
    present = present_document(found) if found else Document()
    document, withheld = _filled(item.document, present)
    with _placing(item.path):
        flow = found or _create(item, document, who)
        notes = _update(flow, item, document, who) if found else []
        notes += _add_triggers(flow, item, document, live=publish or not found)
    return ImportResult(
        flow=flow,
        created=found is None,
        withheld=tuple(placed(problem, f"{item.path}.document") for problem in withheld),
        missing=_missing(item, file.distributions),
        notes=tuple(notes),
    )


def _create(item: FileFlow, document: Document, who: Importer) -> Flow:
    return create_flow(
        key=item.key,
        author=who.author,
        document=document,
        by=who.by,
        reason=_IMPORTED,
        **item.fields,
    )


def _update(flow: Flow, item: FileFlow, document: Document, who: Importer) -> list[str]:
    """Make the document the draft of a flow that exists, and say what else has changed."""
    notes = []
    if _has_changes(flow) and digest(document) != digest(present_document(flow)):
        notes.append(gettext("The draft had changes that were not published; they are replaced."))
    edit_draft(flow, lambda _: document, revision=None, author=who.author)
    changed = {name: value for name, value in item.fields.items() if getattr(flow, name) != value}
    if changed:
        change_flow(flow, by=who.by, reason=_IMPORTED, **changed)
        text = gettext("Changed at once, because they are not part of a version: %(names)s.")
        notes.append(text % {"names": ", ".join(changed)})
    return notes


def _has_changes(flow: Flow) -> bool:
    draft = FlowVersion.objects.filter(draft_of=flow).exists()
    return draft and published_version(flow) is not None and not is_unchanged(flow)


def _publish(item: FileFlow, result: ImportResult, who: Importer) -> ImportResult:
    if is_unchanged(result.flow):
        note = gettext("There was nothing to publish: the published version is the same.")
        return replace(result, notes=(*result.notes, note))
    with _placing(f"{item.path}.document"):
        return replace(result, published=publish_flow(result.flow, by=who.by))


@contextmanager
def _placing(path: str) -> Iterator[None]:
    """Say in which flow of the file the problems are."""
    try:
        yield
    except DocumentError as error:
        raise type(error)([placed(problem, path) for problem in error.problems]) from error


def _add_triggers(flow: Flow, item: FileFlow, document: Document, *, live: bool) -> list[str]:
    """Add the flow triggers that the flow has not; only a live import switches them on."""
    known = [_identity(association) for association in FlowTrigger.objects.filter(flow=flow)]
    notes = []
    for index, given in enumerate(item.triggers):
        association = _association(flow, given)
        if _identity(association) in known:
            continue
        problems = _problems(association, document)
        if problems:
            raise DocumentError([placed(found, f"triggers[{index}]") for found in problems])
        if not live and association.active:
            association.active = False
            text = gettext(
                "The trigger %(key)s was added switched off; switch it on when it is due."
            )
            notes.append(text % {"key": given.trigger})
        association.save(force_insert=True)
    return notes


def _association(flow: Flow, given: FileTrigger) -> FlowTrigger:
    return FlowTrigger(
        flow=flow,
        trigger=given.trigger,
        mode=given.mode,
        active=given.active,
        condition=given.condition,
        config=dict(given.config),
        step=given.step,
    )


def _identity(association: FlowTrigger) -> tuple[Any, ...]:
    found = association
    return found.trigger, found.mode, found.condition, found.config, found.step


def _problems(association: FlowTrigger, document: Document) -> list[Problem]:
    """A trigger whose plugin is missing is imported; the result says so."""
    problems = check_association(association, document)
    if association.trigger in registry.triggers:
        return problems
    return [problem for problem in problems if problem.field != "trigger"]


def _filled(document: Document, present: Document) -> tuple[Document, list[Problem]]:
    """Take values that are not in the file from the same step, where there is one already."""
    withheld: list[Problem] = []
    known = {visit.step.id: visit.step for visit in present.walk()}

    def fill(step: Step) -> Step:
        markers = [name for name, value in step.config.items() if _is_marker(value)]
        if not markers:
            return step
        values = _known_values(known.get(step.id), step)
        config = {name: value for name, value in step.config.items() if name not in markers}
        for name in markers:
            if name in values:
                config[name] = values[name]
            else:
                withheld.append(_withheld(step, name))
        return replace(step, config=config)

    return map_steps(document, fill), withheld


def _is_marker(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {MARKER}


def _known_values(present: Step | None, step: Step) -> Mapping[str, Any]:
    if present is None or present.action != step.action:
        return {}
    try:
        return upgraded_config(present, registry.get_action(present.action).action)
    except FlowcontrolError:
        return present.config if present.config_version == step.config_version else {}


def _withheld(step: Step, name: str) -> Problem:
    reason = step.config[name][MARKER]
    message = f"The value is not in the file ({reason}); enter it in the editor."
    return Problem(f"steps[id={step.id}].config.{name}", message, step.id, name)


def _missing(item: FileFlow, distributions: Mapping[str, str]) -> tuple[str, ...]:
    """Name the plugins that are not here, each with its distribution where the file names it."""
    actions = {visit.step.action for visit in item.document.walk()}
    keys = {key for key in actions if not registry.knows_action(key)}
    keys |= {given.trigger for given in item.triggers if given.trigger not in registry.triggers}
    return tuple(
        f"{plugin} ({distribution})" if (distribution := distributions.get(plugin)) else plugin
        for plugin in sorted({key.partition(".")[0] for key in keys})
    )
