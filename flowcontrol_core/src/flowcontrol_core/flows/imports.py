"""Import of exported flows: into drafts, all or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.utils.translation import gettext

from flowcontrol_core.actions.bound_step import upgraded_config
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Document, Step, map_steps
from flowcontrol_core.errors import DocumentError, FlowcontrolError, Problem
from flowcontrol_core.flows import drafts, lifecycle, publication
from flowcontrol_core.flows.drafts import Author
from flowcontrol_core.flows.edits import replace_draft
from flowcontrol_core.flows.exports import MARKER
from flowcontrol_core.flows.flow_triggers import COLUMNS, check_association
from flowcontrol_core.flows.import_files import File, FileFlow, placed, read_file
from flowcontrol_core.flows.permissions import ACTIVATE, PUBLISH, refuse_without
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
    """The author whose permissions count for an import, and the name that is recorded."""

    author: Author
    by: Any


def import_flows(
    content: str | bytes,
    *,
    author: Author = None,
    by: Any = None,
    publish: bool = False,
    activate: bool = False,
) -> list[ImportResult]:
    """Import flows from exported YAML, each into a draft, in one transaction: all or none.

    ``content`` is a text, or a file in UTF-8, of which more than FILE_BYTES need not be read.

    A flow whose key is taken gets the file's document as its draft, its name and limits, and
    the flow triggers that it has not; what is published changes only with ``publish``. Plugins
    may be missing unless it does. It is recorded with ``by``, the author by default. Raises
    DocumentError, whose problems name the place in the file, PublishError, and NotPermittedError
    where the author may not publish, activate, place one of the actions, or change a flow that is
    live.
    """
    for permission, is_asked_for in ((PUBLISH, publish), (ACTIVATE, activate)):
        if is_asked_for:
            refuse_without(permission, author)
    file, who = read_file(content), Importer(author, by or author)
    with drafts.atomic():
        results = [_import(item, file, who, publish=publish) for item in file.flows]
        # Flows may start each other: all are there before the first is checked.
        if publish:
            pairs = zip(file.flows, results, strict=True)
            results = [_publish(item, result, who) for item, result in pairs]
        if activate:
            results = [
                replace(result, flow=lifecycle.activate(result.flow, by=who.by), activated=True)
                for result in results
            ]
    return results


def _import(item: FileFlow, file: File, who: Importer, *, publish: bool) -> ImportResult:
    found = Flow.objects.filter(key=item.key).first()
    present = drafts.present_version(found) if found else None
    known = known_values(item.document, drafts.readable_document(present))
    document = filled(item.document, known)
    with _placing(item.path):
        flow = found or lifecycle.create_flow(
            key=item.key,
            author=who.author,
            document=document,
            by=who.by,
            reason=gettext("Imported."),
            **item.columns,
        )
        notes = _update(flow, item, document, who) if found else []
        notes += _add_triggers(flow, item, document, live=publish or not found)
    return ImportResult(
        flow=flow,
        created=found is None,
        withheld=tuple(_withheld(item, known)),
        missing=_missing(item, file.distributions),
        notes=tuple(notes),
    )


def _update(flow: Flow, item: FileFlow, document: Document, who: Importer) -> list[str]:
    """Make the document the draft of a flow that exists, and return what else has changed."""
    notes = []
    had_changes = drafts.published_version(flow) is not None and not publication.is_unchanged(flow)
    revision = drafts.present_revision(flow)
    version = replace_draft(flow, document, revision=None, author=who.author)
    if had_changes and version.revision != revision:
        notes.append(gettext("The draft had changes that were not published; they are replaced."))
    columns = item.columns.items()
    changed = {name: value for name, value in columns if getattr(flow, name) != value}
    if changed:
        recorded = {"by": who.by, "reason": gettext("Imported.")}
        lifecycle.change_flow(flow, author=who.author, **recorded, **changed)
        text = gettext("Changed at once, because they are not part of a version: %(names)s.")
        notes.append(text % {"names": ", ".join(changed)})
    return notes


def _publish(item: FileFlow, result: ImportResult, who: Importer) -> ImportResult:
    if publication.is_unchanged(result.flow):
        note = gettext("There was nothing to publish: the published version is the same.")
        return replace(result, notes=(*result.notes, note))
    with _placing(f"{item.path}.document"):
        return replace(result, published=publication.publish(result.flow, by=who.by))


@contextmanager
def _placing(path: str) -> Iterator[None]:
    """Add the place in the file to the path of problems."""
    try:
        yield
    except DocumentError as error:
        raise type(error)([placed(problem, path) for problem in error.problems]) from error


def _add_triggers(flow: Flow, item: FileFlow, document: Document, *, live: bool) -> list[str]:
    """Add the flow triggers that the flow has not; only a live import switches them on."""
    known = [_identity(association) for association in FlowTrigger.objects.filter(flow=flow)]
    notes = []
    for index, columns in enumerate(item.triggers):
        association = FlowTrigger(flow=flow, **columns)
        if _identity(association) in known:
            continue
        # A trigger whose plugin is missing is imported; the result says so.
        is_missing = association.trigger not in registry.triggers
        problems = check_association(association, document)
        if refused := [each for each in problems if not (is_missing and each.field == "trigger")]:
            raise DocumentError([placed(problem, f"triggers[{index}]") for problem in refused])
        if not live and association.active:
            association.active = False
            text = gettext("The trigger %(key)s was added switched off; switch it on later.")
            notes.append(text % {"key": association.trigger})
        association.save(force_insert=True)
    return notes


def _identity(association: FlowTrigger) -> list[Any]:
    return [getattr(association, name) for name in COLUMNS if name != "active"]


_Values = Mapping[str, Mapping[str, Any]]


def known_values(document: Document, present: Document) -> _Values:
    """Return, by step, the values that are not in the file and that the flow has already."""
    known = {}
    for step_id, visit in document.index.items():
        if markers := markers_of(visit.step):
            values = _present_config(present.find(step_id), visit.step)
            known[step_id] = {name: values[name] for name in markers if name in values}
    return known


def filled(document: Document, known: _Values) -> Document:
    def fill(step: Step) -> Step:
        markers = markers_of(step)
        given = {name: value for name, value in step.config.items() if name not in markers}
        return replace(step, config={**given, **known.get(step.id, {})})

    return replace(document, steps=map_steps(document.steps, fill))


def _withheld(item: FileFlow, known: _Values) -> Iterator[Problem]:
    text = gettext("The value is not in the file (%(reason)s); enter it in the editor.")
    for step_id, values in known.items():
        step = item.document.visit(step_id).step
        for name, reason in markers_of(step).items():
            if name not in values:
                path = f"{item.path}.document.steps[id={step_id}].config.{name}"
                yield Problem(path, text % {"reason": reason}, step_id, name)


def markers_of(step: Step) -> dict[str, str]:
    """Return the names of the values that are not in the file, and why."""
    values = step.config.items()
    is_dict = {name: value for name, value in values if isinstance(value, dict)}
    return {name: value[MARKER] for name, value in is_dict.items() if set(value) == {MARKER}}


def _present_config(present: Step | None, step: Step) -> Mapping[str, Any]:
    if present is None or present.action != step.action:
        return {}
    try:
        return upgraded_config(present, registry.get_action(present.action).action)
    except FlowcontrolError:
        return present.config if present.config_version == step.config_version else {}


def _missing(item: FileFlow, distributions: Mapping[str, str]) -> tuple[str, ...]:
    """Return the plugins that are missing, each with its distribution where the file names it."""
    actions = {visit.step.action for visit in item.document.walk()}
    keys = {key for key in actions if not registry.knows_action(key)}
    keys |= {columns["trigger"] for columns in item.triggers} - registry.triggers.keys()
    return tuple(
        f"{plugin} ({distribution})" if (distribution := distributions.get(plugin)) else plugin
        for plugin in sorted({key.partition(".")[0] for key in keys})
    )
