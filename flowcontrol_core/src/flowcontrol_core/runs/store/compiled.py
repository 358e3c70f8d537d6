"""Compiled versions, remembered by their digests: a version of the same digest never changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from zoneinfo import ZoneInfo

from django.utils import timezone

from flowcontrol_core.actions.bound_step import BoundStep, bind_step
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.tree import Document
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import (
    DirectiveError,
    FlowcontrolError,
    UnknownActionError,
)
from flowcontrol_core.expressions import Expression, compile_expression
from flowcontrol_core.models import FlowVersion
from flowcontrol_core.runs.store.connection import TenantCache, alias, connection, tenant


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


def compile_flow(document: Document, source: Registry = registry) -> CompiledFlow:
    """Compile a valid document; raises ExpressionError for a bad guard."""
    zone = ZoneInfo(document.time_zone) if document.time_zone else timezone.get_default_timezone()
    guard = compile_expression(document.guard) if document.guard else None
    return CompiledFlow(document, Program.compile(document), zone, guard, source)


Compiled = CompiledFlow | FlowcontrolError
#: By the key and the digest of the version: the same key may come back with another document.
_compiled: TenantCache[Compiled] = TenantCache(most=2_000)


def read_versions(ids: Iterable[int]) -> dict[int, FlowVersion]:
    """Return versions by their keys, with their flows and without their documents.

    Those that are not known yet are compiled, with one query more for all of them.
    """
    versions = FlowVersion.objects.using(alias()).select_related("flow").defer("document")
    found = versions.in_bulk(set(ids))
    if not connection().in_atomic_block:
        present, missing = tenant(), []
        for pk, version in found.items():
            if (present, pk, version.digest) not in _compiled:
                missing.append(pk)
        if missing:
            _read(missing)
    return found


def get_compiled(version: FlowVersion) -> CompiledFlow:
    """Return a published version, compiled; raises FlowcontrolError where it cannot be."""
    # What is read inside of a transaction may be rolled back, and its primary key used again. The
    # engine itself reads versions outside of any, except in a project's TestCase.
    is_private = connection().in_atomic_block
    key = (tenant(), version.pk, version.digest)
    found = None if is_private else _compiled.get(key)
    if found is None:
        found = _read([version.pk]).get(version.pk)
    if found is None:
        raise FlowcontrolError(f"The version with id {version.pk} does not exist or is a draft.")
    if isinstance(found, FlowcontrolError):
        raise found
    return found


def _read(ids: Sequence[int]) -> dict[int, Compiled]:
    versions = FlowVersion.objects.using(alias())
    rows = versions.filter(pk__in=ids, published_at__isnull=False)
    found: dict[int, Compiled] = {}
    for pk, digest, document in rows.values_list("pk", "digest", "document"):
        found[pk] = _compile(document)
        if not connection().in_atomic_block:
            _compiled[tenant(), pk, digest] = found[pk]
    return found


def _compile(document: object) -> Compiled:
    try:
        return compile_flow(parse(document))
    except FlowcontrolError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is concerns this version only
        wrapped = FlowcontrolError(f"The version cannot be compiled: {error!r}")
        wrapped.__cause__ = error
        return wrapped
