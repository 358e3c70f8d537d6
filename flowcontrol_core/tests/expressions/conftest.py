"""What the tests of expressions share: a fixed time, and scopes built from keyword arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol_core.expressions import Scope, compile_expression, compile_template

NOW = datetime(2025, 3, 30, 12, 15, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def evaluate() -> Callable[..., Any]:
    """Evaluate an expression; keyword arguments are those of the scope, ``state`` the usual one."""

    def run(text: str, **scope: Any) -> Any:
        return compile_expression(text).evaluate(Scope(**{"now": NOW, **scope}))

    return run


@pytest.fixture
def render() -> Callable[..., str]:
    """Render a template; ``html`` is for the template, other keyword arguments for the scope."""

    def run(text: str, *, html: bool = False, **scope: Any) -> str:
        return compile_template(text, html=html).evaluate(Scope(**{"now": NOW, **scope}))

    return run
