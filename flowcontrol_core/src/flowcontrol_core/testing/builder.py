"""A builder for flows in Python: it reads like the tree that it builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.reader import to_seconds
from flowcontrol_core.document.tree import Document, RetryPolicy, Step

#: The keywords of ``step`` that are neither configuration nor branches.
_OPTIONS = frozenset({"note", "disabled", "retry", "timeout", "if_unknown", "config_version"})


def flow(
    *steps: Step,
    object: str | None = None,  # noqa: A002 - the document calls it so
    guard: str = "",
    time_zone: str | None = None,
) -> Document:
    """Build a document from steps; those without an id are numbered ``s1``, ``s2`` in order.

    ::

        flow(
            step("builtin.set_state", state={"n": 0}),
            step("builtin.if", condition="object.is_active", then=[
                step("builtin.update_state", state={"n": 1}),
            ]),
            object="auth.user",
        )
    """
    taken = Document(steps=steps).step_ids()
    fresh = (name for name in map("s{}".format, count(1)) if name not in taken)
    return Document(
        object=object,
        guard=guard,
        time_zone=time_zone,
        steps=tuple(_numbered(one, fresh) for one in steps),
    )


def step(action: str, *, id: str = "", **keywords: Any) -> Step:  # noqa: A002 - as in the document
    """Build a step: a list of steps is a branch, everything else is configuration.

    An empty list is a branch where the action offers one of that name.
    ``note``, ``disabled``, ``retry``, ``timeout``, ``if_unknown`` and ``config_version`` are those
    of the document (``retry`` also as a dictionary); a configuration with such a name goes into
    ``config={...}``.
    """
    config = dict(keywords.pop("config", {}))
    options = {name: keywords.pop(name) for name in _OPTIONS & keywords.keys()}
    if isinstance(retry := options.get("retry"), Mapping):
        options["retry"] = _policy(retry)
    offered = _branches_of(action)
    branches = {
        name: tuple(keywords.pop(name))
        for name, value in list(keywords.items())
        if _is_branch(value, may_be_empty=name in offered)
    }
    return Step(id=id, action=action, config=config | keywords, branches=branches, **options)


def _policy(retry: Mapping[str, Any]) -> RetryPolicy:
    seconds = {"backoff": to_seconds(retry["backoff"])} if "backoff" in retry else {}
    return RetryPolicy(**{**retry, **seconds})


def _branches_of(action: str) -> tuple[str, ...]:
    known = registry.knows_action(action)
    return registry.get_action(action).action.branch_names() if known else ()


def _is_branch(value: Any, *, may_be_empty: bool) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(isinstance(item, Step) for item in value) if value else may_be_empty


def _numbered(one: Step, fresh: Iterator[str]) -> Step:
    own = one.id or next(fresh)
    branches = {
        name: tuple(_numbered(sub, fresh) for sub in branch)
        for name, branch in one.branches.items()
    }
    return replace(one, id=own, branches=branches)
