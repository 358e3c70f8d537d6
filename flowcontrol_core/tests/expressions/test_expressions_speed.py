"""Compiling once pays: a loose ratio within one run, no absolute figure."""

from __future__ import annotations

import timeit
from datetime import datetime

from django.contrib.auth.models import User

from flowcontrol_core.expressions import Scope, compile_expression


def test_compiled_evaluation_is_much_faster_than_compiling(now: datetime) -> None:
    text = "object.id > 100 and state.tries < 3"
    scope = Scope(obj=User(id=200), state={"tries": 2}, now=now)
    compiled = compile_expression(text)
    once = min(timeit.repeat(lambda: compiled.test(scope), number=300, repeat=5))
    every_time = min(
        timeit.repeat(lambda: compile_expression(text).test(scope), number=300, repeat=5)
    )
    assert compiled.test(scope) is True
    assert every_time > 5 * once


def test_building_a_scope_does_not_depend_on_the_size_of_the_state(now: datetime) -> None:
    large = {str(number): number for number in range(100_000)}
    of_large = min(timeit.repeat(lambda: Scope(state=large, now=now), number=300, repeat=5))
    of_small = min(timeit.repeat(lambda: Scope(state={}, now=now), number=300, repeat=5))
    assert of_large < 20 * of_small
    assert Scope(state=large, now=now).state is large
