"""Rows of the project that published flows name."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.deletion import ProtectedError
from django.db.models.signals import pre_delete
from django.test import Client
from django.urls import reverse

from flowcontrol import flows
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.flows import references
from flowcontrol_core.models import Flow, FlowEvent
from tests.shop.models import Customer

from .conftest import document, greet, step

pytestmark = pytest.mark.django_db


def publish(flow: Flow) -> Flow:
    flows.publish(flow)
    return flow


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def naming(obj: Customer, key: str = "welcome", **options: Any) -> Flow:
    """Return a flow with a step whose configuration names a row."""
    body = document(greet("g", customer=str(obj.pk), **options))
    return flows.create_flow(key=key, name=key, document=body)


def test_row_that_a_published_flow_names_cannot_be_deleted(
    actions: Registry, ada: Customer
) -> None:
    publish(naming(ada))
    bob = Customer.objects.create(name="Bob")
    assert [str(found) for found in flows.find_references(ada)] == [
        "flow “welcome”, step g (customer)"
    ]
    for delete in (ada.delete, Customer.objects.all().delete):
        refusal = pytest.raises(ProtectedError, match="flow “welcome”, step g")
        with refusal as refused, transaction.atomic():
            delete()
        assert refused.value.protected_objects == {Flow.objects.get(key="welcome")}
    bob.delete()
    assert list(Customer.objects.all()) == [ada]


def test_row_that_no_published_flow_names_can_be_deleted(actions: Registry, ada: Customer) -> None:
    naming(ada, "draft")
    publish(naming(Customer.objects.create(name="Bob"), "other"))
    changed = publish(naming(ada))
    flows.edit_draft(changed, lambda _: document(greet("g")), revision=None, author=None)
    publish(changed)
    assert flows.find_references(ada) == []
    ada.delete()


def test_documents_are_read_once_however_many_rows_are_deleted(
    actions: Registry, ada: Customer, django_assert_max_num_queries: Any
) -> None:
    publish(naming(ada))
    others = [Customer.objects.create(name="Bob") for _ in range(3)]
    assert flows.find_references(others[0]) == []
    for other in others:
        with django_assert_max_num_queries(1):
            flows.find_references(other)


def test_confirmation_of_any_admin_names_the_flows(actions: Registry, ada: Customer) -> None:
    publish(naming(ada))
    User.objects.create_superuser("root", password="root")
    client = Client()
    client.login(username="root", password="root")
    address = reverse("admin:shop_customer_delete", args=[ada.pk])
    assert "flow “welcome”, step g (customer)" in client.get(address).content.decode()
    assert client.post(address, {"post": "yes"}).status_code == 200
    listed = {"action": "delete_selected", "_selected_action": [ada.pk], "post": "yes"}
    client.post(reverse("admin:shop_customer_changelist"), listed)
    assert Customer.objects.count() == 1


def test_run_that_reaches_a_row_that_is_gone_names_it(
    actions: Registry, ada: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    flow = publish(naming(ada))
    flows.activate(flow)
    run = create_flowrun("welcome")
    Customer.objects.filter(pk=ada.pk)._raw_delete("default")
    with caplog.at_level(logging.ERROR):
        continue_flowruns()
    run.refresh_from_db()
    assert (run.status, run.reason_code) == ("blocked", "invalid_config")
    assert f"The chosen customer {ada.pk} does not exist any more" in run.reason


def test_models_are_protected_that_actions_of_the_site_offer(actions: Registry) -> None:
    references.connect()
    assert pre_delete.has_listeners(Customer)


def test_loop_without_steps_is_warned_of_and_published(actions: Registry) -> None:
    loop = step("l", "loop")
    flow = publish(flows.create_flow(key="empty", name="Empty", document=document(loop)))
    (event,) = FlowEvent.objects.filter(key="empty", operation="publish")
    (warning,) = event.values["warnings"]
    assert "steps[0]: There are no steps in the loop." in warning
    flow.refresh_from_db()
    assert flow.published is not None
