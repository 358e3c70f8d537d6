"""Many small cases in one test: pytest's own work for a test is a hundred times theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest

Test = Callable[..., None]


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Stand for `pytest.mark.parametrize` where the cases may share their fixtures.

    All cases are tried; the test fails with all that failed, each with its values as a note.
    """
    parameters = [names] if isinstance(names, str) else list(names)
    rows = [(case,) if isinstance(names, str) else tuple(case) for case in cases]

    if not rows:
        raise ValueError(f"There are no cases of {', '.join(parameters)}: nothing would be tested.")

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)
        left = [value for name, value in signature.parameters.items() if name not in parameters]

        @wraps(test)
        def try_all(**fixtures: Any) -> None:
            failures: list[BaseException] = []
            for row in rows:
                values = dict(zip(parameters, row, strict=True))
                try:
                    test(**fixtures, **values)
                except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001
                    failure.add_note(f"The case: {values!r}")
                    failures.append(failure)
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(rows)} cases failed", failures)

        try_all.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return try_all

    return decorate
