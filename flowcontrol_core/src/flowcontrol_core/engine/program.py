"""A version, compiled: the immutable tree that the interpreter walks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flowcontrol_core.document.tree import Document, Step


@dataclass(frozen=True, slots=True)
class Node:
    """A step at its place: what comes after it, what is above it, where its branches start."""

    step: Step
    parent: str | None
    branch: str | None
    after: str | None
    first: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Program:
    """All steps of a version by id; disabled ones, and what is in them, are left out."""

    nodes: Mapping[str, Node]
    start: str | None

    @classmethod
    def compile(cls, document: Document) -> Program:
        """Build the tree of a valid document."""
        nodes = {node.step.id: node for node in _nodes(document.steps, None, None)}
        return cls(nodes, _first(document.steps))

    def ancestors(self, step_id: str) -> list[Node]:
        """Return the nodes around a step, the outermost first."""
        parent = self.nodes[step_id].parent
        return [] if parent is None else [*self.ancestors(parent), self.nodes[parent]]


def _first(steps: tuple[Step, ...]) -> str | None:
    """Return the id of the first enabled step, None for a branch that has none."""
    return next((step.id for step in steps if not step.disabled), None)


def _nodes(steps: tuple[Step, ...], parent: str | None, branch: str | None) -> Iterator[Node]:
    enabled = [step for step in steps if not step.disabled]
    following = [*(step.id for step in enabled[1:]), None]
    for step, after in zip(enabled, following, strict=False):
        first = {name: _first(inner) for name, inner in step.branches.items()}
        yield Node(step, parent, branch, after, first)
        for name, inner in step.branches.items():
            yield from _nodes(inner, step.id, name)
