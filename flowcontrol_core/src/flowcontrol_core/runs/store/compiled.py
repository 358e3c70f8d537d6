"""Compiled versions, remembered by their digests: a version of the same digest never changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
from flowcontrol_core.runs.store.connection import TenantCache, alias, connection, tenant
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


#: By the key and the digest of the version: the same key may come back with another document.
_compiled: TenantCache[CompiledFlow] = TenantCache(most=2_000)


def read_versions(
    ids: Iterable[int],
) -> dict[int, tuple[FlowVersion, CompiledFlow | UnusableVersion]]:
    """Return published versions by their keys, and each compiled, or why it cannot be.

    They come with their flows and without their documents.
    """
    versions = FlowVersion.objects.using(alias()).select_related("flow").defer("document")
    found = versions.in_bulk(set(ids))
    return {pk: (found[pk], compiled) for pk, compiled in _compile(found.values()).items()}


def get_compiled(version: FlowVersion) -> CompiledFlow:
    """Return a published version, compiled.

    Raises UnusableVersion where it cannot be compiled here, which is tried again each time, and
    FlowcontrolError where there is no such version.
    """
    found = _compile([version]).get(version.pk)
    if found is None:
        raise FlowcontrolError(f"The version with id {version.pk} does not exist or is a draft.")
    if isinstance(found, UnusableVersion):
        raise found
    return found


def get_program(version: FlowVersion) -> Program:
    """Return the program of a version, also of one that cannot be executed here.

    Raises DocumentError for one that cannot be read.
    """
    try:
        return get_compiled(version).program
    except UnusableVersion:
        return Program.compile(parse(version.document))


def _compile(versions: Collection[FlowVersion]) -> dict[int, CompiledFlow | UnusableVersion]:
    """Return published versions, compiled; those not known yet are read with one query."""
    found: dict[int, CompiledFlow | UnusableVersion] = {}
    # What is read inside of a transaction may be rolled back, and its primary key used again. The
    # engine itself reads versions outside of any, except in a project's TestCase.
    if not connection().in_atomic_block:
        present = tenant()
        for version in versions:
            if known := _compiled.get((present, version.pk, version.digest)):
                found[version.pk] = known
    missing = [version.pk for version in versions if version.pk not in found]
    return found | _read(missing) if missing else found


def _read(ids: Sequence[int]) -> dict[int, CompiledFlow | UnusableVersion]:
    """Compile versions, and remember those that can be; return each, or why it cannot be."""
    versions = FlowVersion.objects.using(alias())
    rows = versions.filter(pk__in=ids, published_at__isnull=False)
    found: dict[int, CompiledFlow | UnusableVersion] = {}
    for pk, digest, document in rows.values_list("pk", "digest", "document"):
        try:
            found[pk] = compiled = compile_flow(parse(document))
        except BaseException as error:  # noqa: BLE001 - whatever it is concerns this version only
            raise_interruption(error)
            found[pk] = UnusableVersion(error)
        else:
            if not connection().in_atomic_block:
                _compiled[tenant(), pk, digest] = compiled
    return found
