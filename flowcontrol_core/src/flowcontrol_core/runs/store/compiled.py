"""Compiled versions, kept for ever: a version never changes, so nothing has to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import tzinfo

from flowcontrol_core.actions.bound_step import BoundStep, bind_step
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.tree import Document
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import (
    DirectiveError,
    FlowcontrolError,
    UnknownActionError,
    UnknownFilterError,
    UnknownZoneError,
    raise_interruption,
)
from flowcontrol_core.expressions import Expression, compile_expression
from flowcontrol_core.models import FlowVersion, Reason
from flowcontrol_core.runs.store import needs
from flowcontrol_core.runs.store.connection import alias, connection
from flowcontrol_core.zones import find_zone


@dataclass(slots=True)
class CompiledFlow:
    """A document, compiled once: the program, the guard, and the steps as they are needed.

    Steps are bound when they are first executed, so that a missing plugin blocks the runs that
    reach its step and no others. What is bound is forgotten when the registry changes.
    """

    document: Document
    program: Program
    zone: tzinfo
    guard: Expression | None
    source: Registry = registry
    _bound: dict[str, BoundStep] = field(default_factory=dict)
    _loops: dict[str, bool] = field(default_factory=dict)
    _generation: int = -1

    def bound(self, step_id: str) -> BoundStep:
        """Return a step of the program, bound.

        Raises as ``bind_step`` does, and DirectiveError where the program has no such step.
        """
        if self._generation != self.source.generation:
            self._bound, self._loops = {}, {}
            self._generation = self.source.generation
        found = self._bound.get(step_id)
        if found is None:
            if step_id not in self.program.nodes:
                raise DirectiveError(f"The version of this run has no enabled step {step_id!r}.")
            step = self.program.nodes[step_id].step
            found = self._bound[step_id] = bind_step(step, self.zone, self.source)
        return found

    def is_loop(self, step_id: str) -> bool:
        """Return whether the action of a step is a loop; a missing action is none."""
        found = self._loops.get(step_id)
        if found is None:
            try:
                key = self.program.nodes[step_id].step.action
                found = self.source.get_action(key).action.is_loop
            except UnknownActionError:
                return False
            self._loops[step_id] = found
        return found


class UnusableVersion(FlowcontrolError):
    """A published version cannot be executed here; its runs wait until that is mended.

    ``reason`` says why, and ``missing`` names what it lacks (see ``needs``), if that is known.
    """

    def __init__(self, error: BaseException) -> None:
        self.missing: str | None = None
        if isinstance(error, UnknownZoneError):
            self.missing = needs.zone_key(error.name)
            self.reason = Reason.of("missing_zone", zone=error.name)
        else:
            text = str(error) if isinstance(error, FlowcontrolError) else repr(error)
            self.reason = Reason.of("unusable_version", error=text)
        super().__init__(str(self.reason))


def compile_flow(document: Document, source: Registry = registry) -> CompiledFlow:
    """Compile a valid document; raises ExpressionError for a bad guard, and UnknownZoneError."""
    zone = find_zone(document.time_zone)
    guard = _compile_guard(document.guard) if document.guard else None
    return CompiledFlow(document, Program.compile(document), zone, guard, source)


def _compile_guard(text: str) -> Expression:
    """Compile a guard; one that lacks a plugin is compiled when a run reaches it, or blocks it."""
    try:
        return compile_expression(text)
    except UnknownFilterError:
        return Expression(text, {}, lambda scope: compile_expression(text).evaluate(scope))


_MOST = 2_000
_compiled: dict[int, CompiledFlow] = {}


def preload(version_ids: Iterable[int]) -> None:
    """Compile the versions that are not known yet, with one query for all of them."""
    missing = set(version_ids) - _compiled.keys()
    if missing and not connection().in_atomic_block:
        _read(missing, _compiled)


def get_compiled(version_id: int) -> CompiledFlow:
    """Return a published version, compiled.

    Raises UnusableVersion where it cannot be compiled here, which is tried again each time, and
    FlowcontrolError where there is no such version.
    """
    # What is read inside of a transaction may be rolled back, and its primary key used again. The
    # engine itself reads versions outside of any, except in a project's TestCase.
    known = {} if connection().in_atomic_block else _compiled
    if version_id not in known and (refused := _read({version_id}, known)):
        raise refused[version_id]
    found = known.get(version_id)
    if found is None:
        raise FlowcontrolError(f"The version with id {version_id} does not exist or is a draft.")
    return found


def get_program(version: FlowVersion) -> Program:
    """Return the program of a version, also of one that cannot be executed here.

    Raises DocumentError for one that cannot be read.
    """
    try:
        return get_compiled(version.pk).program
    except UnusableVersion:
        return Program.compile(parse(version.document))


def is_executable(version_id: int | None) -> bool:
    """Return whether runs of a flow's published version can be executed here."""
    try:
        return version_id is None or get_compiled(version_id) is not None
    except UnusableVersion:
        return False


def _read(ids: AbstractSet[int], known: dict[int, CompiledFlow]) -> dict[int, UnusableVersion]:
    """Compile versions; return why some of them cannot be."""
    if len(known) > _MOST:
        known.clear()
    versions = FlowVersion.objects.using(alias())
    rows = versions.filter(pk__in=ids, published_at__isnull=False)
    refused = {}
    for pk, document in rows.values_list("pk", "document"):
        try:
            known[pk] = compile_flow(parse(document))
        except BaseException as error:  # noqa: BLE001 - whatever it is concerns this version only
            raise_interruption(error)
            refused[pk] = UnusableVersion(error)
    return refused
