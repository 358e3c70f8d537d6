"""What Django has no public way for: each stands in one place, and is tested here."""

from __future__ import annotations

import pytest
from django.db import transaction

from flowcontrol_core.models import FlowRun, Worker
from flowcontrol_core.runs.store.clock import clock
from flowcontrol_core.runs.store.connection import first_keys, is_registered_after_commit

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
