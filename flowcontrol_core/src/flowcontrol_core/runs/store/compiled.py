"""Compiled versions, kept for ever: a version never changes, so nothing has to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from flowcontrol_core.actions.binding import CompiledFlow, compile_flow
from flowcontrol_core.document.parse import parse
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import FlowVersion
from flowcontrol_core.runs.store.connection import alias, connection

_MOST = 2_000
Compiled = CompiledFlow | FlowcontrolError
_compiled: dict[int, Compiled] = {}


def preload(version_ids: Iterable[int]) -> None:
    """Compile the versions that are not known yet, with one query for all of them."""
    if not connection().in_atomic_block:
        _read(set(version_ids) - _compiled.keys(), _compiled)


def get_compiled(version_id: int) -> CompiledFlow:
    """Give a published version, compiled; raises FlowcontrolError where it cannot be."""
    # What is read inside of a transaction may be rolled back, and its primary key used again. The
    # runtime itself reads versions outside of any, except in a project's TestCase.
    known = {} if connection().in_atomic_block else _compiled
    if version_id not in known:
        _read({version_id}, known)
    found = known.get(version_id)
    if found is None:
        raise FlowcontrolError(f"The version with id {version_id} does not exist or is a draft.")
    if isinstance(found, FlowcontrolError):
        raise found
    return found


def _read(ids: AbstractSet[int], known: dict[int, Compiled]) -> None:
    if not ids:
        return
    if len(known) > _MOST:
        known.clear()
    versions = FlowVersion.objects.using(alias())
    rows = versions.filter(pk__in=ids, published_at__isnull=False)
    for pk, definition in rows.values_list("pk", "definition"):
        known[pk] = _compile(definition)


def _compile(definition: object) -> Compiled:
    try:
        return compile_flow(parse(definition))
    except FlowcontrolError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is concerns this version only
        wrapped = FlowcontrolError(f"The version cannot be compiled: {error!r}")
        wrapped.__cause__ = error
        return wrapped
