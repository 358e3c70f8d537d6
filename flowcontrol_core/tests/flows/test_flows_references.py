"""Rows of the project that published flows name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.deletion import ProtectedError
from django.db.models.signals import pre_delete
from django.test import Client
from django.urls import reverse

from flowcontrol import flows
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.format import to_data
from flowcontrol_core.flows import references
from flowcontrol_core.models import Flow, FlowEvent, FlowVersion
from tests.shop.models import Customer, Parcel, Voucher

from .conftest import document, greet, step

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _protected_for_this_test_only() -> Iterator[None]:
    """Forget afterwards which models are protected: each deletion of one costs a query."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pre_delete, "receivers", [*pre_delete.receivers])
        yield
    pre_delete.sender_receivers_cache.clear()


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


class Choices(BaseAction):
    """Offers rows with keys of several kinds, one and many."""

    name = "choices"
    effects = Effects.NONE

    class Config(forms.Form):
        customer = forms.ModelChoiceField(Customer.objects.all(), required=False)
        named = forms.ModelChoiceField(Customer.objects.all(), to_field_name="name", required=False)
        parcel = forms.ModelChoiceField(Parcel.objects.all(), required=False)
        voucher = forms.ModelChoiceField(Voucher.objects.all(), required=False)
        customers = forms.ModelMultipleChoiceField(Customer.objects.all(), required=False)
        parcels = forms.ModelMultipleChoiceField(Parcel.objects.all(), required=False)

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["chosen"] = str(config.customer)


SPELLINGS: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
    "number": ("customer", Customer, lambda pk: pk),
    "text": ("customer", Customer, str),
    "text with spaces": ("customer", Customer, lambda pk: f" {pk} "),
    "text with zeros": ("customer", Customer, lambda pk: f"0{pk}"),
    "other field": ("named", Customer, lambda pk: "Ada"),
    "uuid": ("parcel", Parcel, str),
    "uuid in capitals": ("parcel", Parcel, lambda pk: str(pk).upper()),
    "uuid without dashes": ("parcel", Parcel, lambda pk: pk.hex),
    "code": ("voucher", Voucher, str),
    "numbers": ("customers", Customer, lambda pk: [pk]),
    "texts": ("customers", Customer, lambda pk: [str(pk)]),
    "uuids": ("parcels", Parcel, lambda pk: [str(pk)]),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_row_is_protected_however_its_key_is_written(actions: Registry, name: str) -> None:
    registry.add_action(Choices, plugin="test")
    field, model, spell = SPELLINGS[name]
    columns: dict[Any, str] = {Customer: "name", Voucher: "pk"}
    obj, other = (
        model.objects.create(**({columns[model]: value} if model in columns else {}))
        for value in ("Ada", "Bob")
    )
    chosen = step("c", "choices", config={field: spell(obj.pk)})
    target = publish(flows.create_flow(key="chosen", name="Chosen", document=document(chosen)))
    run = create_flowrun(flows.activate(target))
    continue_flowruns()
    run.refresh_from_db()
    assert run.outcome == "complete"
    assert [found.field for found in flows.find_references(obj)] == [field]
    assert flows.find_references(other) == []
    with pytest.raises(ProtectedError), transaction.atomic():
        obj.delete()
    other.delete()


def test_row_with_a_key_of_text_is_not_the_one_whose_key_looks_like_a_number(
    actions: Registry,
) -> None:
    registry.add_action(Choices, plugin="test")
    seven = Voucher.objects.create(pk="7")
    chosen = step("c", "choices", config={"voucher": 7})
    odd = step("d", "choices", config={"customer": "abc", "parcel": [1, {}], "customers": [None]})
    publish(flows.create_flow(key="chosen", name="Chosen", document=document(chosen)))
    flow = flows.create_flow(key="odd", name="Odd", document=document(greet("g")))
    publish(flow)
    FlowVersion.objects.filter(flow=flow).update(document=to_data(document(odd)), digest="0" * 64)
    assert len(flows.find_references(seven)) == 1
    assert flows.find_references(Voucher.objects.create(pk="07")) == []
    assert flows.find_references(Customer.objects.create(name="Ada")) == []
    assert flows.find_references(Parcel.objects.create()) == []


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
