"""A run whose object is deleted ends as OBSOLETE, wherever that is noticed."""

from __future__ import annotations

import pytest

from flowcontrol.engine import create_flowrun
from flowcontrol.testing import flow, manual_clock, publish_flow, run_due, step
from flowcontrol_core.document.tree import Document
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db

WAIT = step("builtin.delay", mode="for", amount="1", unit="days", if_past="continue")
IN_THE_GUARD = flow(WAIT, step("builtin.update_state", state={"a": 1}), guard="object.name")
IN_A_CONDITION = flow(WAIT, step("builtin.if", condition="object.name == 'x'"))


@pytest.mark.parametrize("document", [IN_THE_GUARD, IN_A_CONDITION])
def test_run_of_a_deleted_object_is_obsolete(document: Document) -> None:
    customer = Customer.objects.create(name="Ada")
    with manual_clock() as clock:
        run = create_flowrun(publish_flow(document), customer)
        run_due()
        customer.delete()
        clock.advance(days=2)
        run_due()
    run.refresh_from_db()
    assert run.outcome == "obsolete"
    assert (run.reason_code, run.reason) == ("object_gone", "The object Ada no longer exists.")


def test_run_that_never_reads_its_deleted_object_completes() -> None:
    customer = Customer.objects.create(name="Ada")
    with manual_clock() as clock:
        run = create_flowrun(publish_flow(flow(WAIT)), customer)
        run_due()
        customer.delete()
        clock.advance(days=2)
        run_due()
    run.refresh_from_db()
    assert run.outcome == "complete"
