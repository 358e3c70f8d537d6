"""A call passes through few files, so that it can be followed in the code."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.tooling import journeys

pytestmark = pytest.mark.django_db


def test_form_post_of_a_step_reads_once_and_writes_once() -> None:
    journey = journeys.post()
    # What is saved is compared with what its author has seen, checked, and noted in the journal.
    assert len(journey.files) <= 30, journey.files
    assert journey.calls("parse") == 1
    assert journey.calls("to_data") <= 2
    assert journey.calls("digest") == 1


@pytest.mark.django_db(transaction=True)
def test_sweep_with_one_step_passes_through_few_files() -> None:
    journey = journeys.sweep()
    assert len(journey.files) <= 24, journey.files
    # On a server the heartbeat has a thread, which tests end at once.
    bound = 130 if connection.vendor == "sqlite" else 137
    assert len(journey.functions) <= bound, journey.functions


@pytest.mark.django_db(transaction=True)
def test_trigger_inserts_its_run_through_few_files() -> None:
    journey = journeys.fire()
    assert len(journey.files) <= 10, journey.files
