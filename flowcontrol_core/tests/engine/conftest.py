"""Building programs for the interpreter, which knows no action."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.engine.program import Program

Compile = Callable[..., Program]


@pytest.fixture
def step() -> Callable[..., Step]:
    """Return a step: its id, and its branches."""

    def step(name: str, *, disabled: bool = False, **branches: list[Step]) -> Step:
        inner = {branch: tuple(steps) for branch, steps in branches.items()}
        return Step(id=name, action="test.any", disabled=disabled, branches=inner)

    return step


@pytest.fixture
def compile_() -> Compile:
    """Compile steps."""

    def compile_(*steps: Step) -> Program:
        return Program.compile(Document(steps=steps))

    return compile_
