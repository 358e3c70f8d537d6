"""A test of many cases says of each case that failed what a test of its own would have said."""

from __future__ import annotations

import pytest

from tests.cases import each


def test_every_case_is_tried_and_all_that_failed_are_named() -> None:
    tried: list[int] = []

    @each(["number", "limit"], [(1, 5), (7, 5), (2, 5), (9, 5)])
    def small(number: int, limit: int) -> None:
        tried.append(number)
        assert number < limit

    with pytest.raises(ExceptionGroup, match="2 of 4 cases failed") as caught:
        small()
    assert tried == [1, 7, 2, 9]
    notes = [failure.__notes__ for failure in caught.value.exceptions]
    assert notes == [
        ["The case: {'number': 7, 'limit': 5}"],
        ["The case: {'number': 9, 'limit': 5}"],
    ]


def test_error_that_was_expected_and_did_not_come_is_a_failure_of_its_case() -> None:
    @each("text", ["1", "x", "2"])
    def refused(text: str) -> None:
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases failed"):
        refused()


def test_table_without_cases_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no cases"):
        each("text", [])
