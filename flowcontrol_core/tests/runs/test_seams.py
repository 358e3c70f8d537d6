"""What Django has no public way for: each stands in one place, and is tested here."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from django.db import connections, transaction
from django.test import TestCase

from flowcontrol_core.models import FlowRun, Worker
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import (
    first_keys,
    is_registered_after_commit,
    transaction_elsewhere,
)

pytestmark = pytest.mark.django_db(transaction=True)


def work() -> None:
    """Stand for what is done after a commit."""


def test_what_a_transaction_does_after_its_commit_can_be_asked_for() -> None:
    assert not is_registered_after_commit(work)
    with transaction.atomic():
        assert not is_registered_after_commit(work)
        with transaction.atomic():
            transaction.on_commit(work)
            assert is_registered_after_commit(work)
            transaction.set_rollback(True)
        # What is rolled back is forgotten.
        assert not is_registered_after_commit(work)
        transaction.on_commit(work)
        assert is_registered_after_commit(work)
        assert not is_registered_after_commit(print)
    assert not is_registered_after_commit(work)


def test_first_keys_of_queries_come_with_one_query(django_assert_num_queries: object) -> None:
    now = clock().now()
    older, younger = (
        Worker.objects.create(name=name, host="h", pid=1, started_at=now, last_sweep_at=now)
        for name in ("a", "b")
    )
    workers = Worker.objects.all()
    with django_assert_num_queries(1):  # type: ignore[operator]
        found = first_keys(
            [workers.order_by("name"), workers.order_by("-name"), FlowRun.objects.order_by("pk")]
        )
    assert found == (older.pk, younger.pk, None)


class TwoDatabases(TestCase):
    """Its own transactions, which never end, are not those of the code."""

    def test_here(self) -> None:
        assert connections["default"].in_atomic_block
        with use_runs_elsewhere():
            assert transaction_elsewhere() == ""
            with transaction.atomic():
                assert transaction_elsewhere() == "default"
            assert transaction_elsewhere() == ""


@contextmanager
def use_runs_elsewhere() -> Iterator[None]:
    with mock.patch("flowcontrol_core.runs.store.connection.alias", return_value="elsewhere"):
        yield


def test_a_transaction_of_another_database_is_told_from_that_of_a_test_case() -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.suiteClass([TwoDatabases("test_here")]).run(result)
    assert (result.testsRun, result.failures + result.errors) == (1, [])
    with transaction.atomic():
        assert transaction_elsewhere() == ""
        with use_runs_elsewhere():
            assert transaction_elsewhere() == "default"
