"""A version, compiled: the immutable tree that the interpreter walks."""

from __future__ import annotations

from collections.abc import Mapping
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
        nodes: dict[str, Node] = {}
        start = _compile_branch(document.steps, None, None, nodes)
        return cls(nodes, start)

    def ancestors(self, step_id: str) -> list[Node]:
        """Give the nodes around a step, the outermost first."""
        found = []
        parent = self.nodes[step_id].parent
        while parent is not None:
            found.append(self.nodes[parent])
            parent = self.nodes[parent].parent
        return found[::-1]


def _compile_branch(
    steps: tuple[Step, ...], parent: str | None, branch: str | None, nodes: dict[str, Node]
) -> str | None:
    after: str | None = None
    for step in reversed([step for step in steps if not step.disabled]):
        first = {
            name: _compile_branch(inner, step.id, name, nodes)
            for name, inner in step.branches.items()
        }
        nodes[step.id] = Node(step, parent, branch, after, first)
        after = step.id
    return after
