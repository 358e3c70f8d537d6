"""Compiled versions, kept for ever: a version never changes, so nothing has to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable

from flowcontrol_core.definition import parse
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import FlowVersion
from flowcontrol_core.plugins.binding import CompiledFlow, compile_flow
from flowcontrol_core.runtime.database import connection

_MOST = 2_000
_compiled: dict[int, CompiledFlow | FlowcontrolError] = {}


def preload(version_ids: Iterable[int]) -> None:
    """Compile the versions that are not known yet, with one query for all of them."""
    wanted = set(version_ids)
    # What is read inside of a transaction may be rolled back, and its primary key used again; the
    # runtime itself reads versions outside of any, except in a project's TestCase.
    missing = wanted if connection().in_atomic_block else wanted - _compiled.keys()
    if not missing:
        return
    if len(_compiled) > _MOST:
        _compiled.clear()
    rows = FlowVersion.objects.filter(pk__in=missing, published_at__isnull=False)
    for pk, definition in rows.values_list("pk", "definition"):
        _compiled[pk] = _compile(definition)


def get_compiled(version_id: int) -> CompiledFlow:
    """Give a published version, compiled; raises FlowcontrolError where it cannot be."""
    preload([version_id])
    found = _compiled.get(version_id)
    if found is None:
        raise FlowcontrolError(f"The version with id {version_id} does not exist or is a draft.")
    if isinstance(found, FlowcontrolError):
        raise found
    return found


def _compile(definition: object) -> CompiledFlow | FlowcontrolError:
    try:
        return compile_flow(parse(definition))
    except FlowcontrolError as error:
        return error
