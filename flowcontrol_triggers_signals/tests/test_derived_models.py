"""Proxies and models derived from a named one: an object fires for what it is, and once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.db.models.signals import post_delete, post_save, pre_save
from django.test.utils import isolate_apps

from flowcontrol.models import FlowRun
from flowcontrol.registry import registry
from flowcontrol_triggers_signals import plugin
from flowcontrol_triggers_signals.model_triggers import ModelTriggers
from flowcontrol_triggers_signals.receivers import (
    UID,
    connect_models,
    is_deleted_with,
    is_saved_with,
)
from tests.shop.models import Customer, Order

from .conftest import Listen, fired

pytestmark = pytest.mark.django_db


def disconnect(sender: type[models.Model]) -> None:
    """Undo ``connect_models`` for a model."""
    for signal in (pre_save, post_save, post_delete):
        signal.disconnect(sender=sender, dispatch_uid=UID)


@pytest.fixture
def rush() -> Iterator[type[Order]]:
    """Yield a proxy of the order."""
    with isolate_apps("tests.shop"):

        class RushOrder(Order):
            class Meta:
                proxy = True
                app_label = "shop"

    connect_models(plugin.model_triggers, [RushOrder])
    yield RushOrder
    disconnect(RushOrder)


@pytest.fixture
def gift() -> Iterator[type[Order]]:
    """Yield a model with a table of its own, derived from the order; the table is never created."""
    with isolate_apps("tests.shop"):

        class GiftOrder(Order):
            class Meta:
                app_label = "shop"

    connect_models(plugin.model_triggers, [GiftOrder])
    yield GiftOrder
    disconnect(GiftOrder)


def test_object_saved_through_a_proxy_fires_for_its_model(
    listen: Listen, rush: type[Order], ada: Customer
) -> None:
    for event in ("created", "updated", "deleted"):
        listen(f"shop.order.{event}")
    order = rush.objects.create(customer=ada)
    order.total = Decimal(5)
    order.save()
    order.delete()
    assert fired() == ["shop.order.created", "shop.order.updated", "shop.order.deleted"]


def test_run_of_an_object_saved_through_a_proxy_is_about_the_model(
    listen: Listen, rush: type[Order], ada: Customer
) -> None:
    listen("shop.order.created")
    order = rush.objects.create(customer=ada)
    assert FlowRun.objects.get().object_type == "shop.order"
    assert list(FlowRun.objects.for_object(Order.objects.get(pk=order.pk)))


def test_named_proxy_fires_for_what_is_saved_through_it_only(
    rush: type[Order], ada: Customer
) -> None:
    triggers = ModelTriggers(rush)
    assert is_saved_with(triggers.model, rush)
    assert not is_saved_with(triggers.model, Order)
    assert is_deleted_with(triggers.model, rush)


def test_object_of_a_derived_model_is_saved_as_its_parent(
    listen: Listen, gift: Any, ada: Customer
) -> None:
    listen("shop.order.created")
    instance = gift(customer=ada)
    instance.pk = 7
    post_save.send(
        gift, instance=instance, created=True, raw=False, using="default", update_fields=None
    )
    assert fired() == ["shop.order.created"]


def test_deletion_of_a_derived_object_fires_once(listen: Listen, gift: Any, order: Order) -> None:
    """Django reports it twice: by the signal of the derived model and by that of its parent."""
    listen("shop.order.deleted")
    instance = gift(customer=order.customer)
    instance.pk = order.pk
    post_delete.send(gift, instance=instance, using="default", origin=instance)
    assert fired() == []
    order.delete()
    assert fired() == ["shop.order.deleted"]


@pytest.mark.parametrize(
    ("model", "sender", "saved", "deleted"),
    [(User, User, True, True), (User, LogEntry, False, False), (models.Model, User, True, False)],
)
def test_senders_of_a_model(model: Any, sender: Any, saved: bool, deleted: bool) -> None:
    assert is_saved_with(model, sender) == saved
    if model is not models.Model:
        assert is_deleted_with(model, sender) == deleted


def test_connecting_twice_fires_once(listen: Listen) -> None:
    connect_models(plugin.model_triggers)
    listen("shop.customer.created")
    Customer.objects.create(name="Ada")
    assert fired() == ["shop.customer.created"]


def test_triggers_of_the_configured_labels_are_registered() -> None:
    keys = {key for key, entry in registry.triggers.items() if entry.plugin == "signals"}
    assert {"signals.shop.order.created", "signals.auth.user.deleted"} <= keys
    trigger = registry.get_trigger("signals.shop.order.updated")
    assert (str(trigger.label), trigger.model) == ("Order updated", "shop.order")
    assert set(trigger.payload) == {"changed", "old"}
    assert registry.get_trigger("signals.shop.order.deleted").model == ""


def test_form_offers_the_fields_that_can_change() -> None:
    form = registry.get_trigger("signals.shop.customer.updated").Config
    field = form.base_fields["changed"]
    offered = [value for value, _ in field.choices]  # type: ignore[attr-defined]
    assert offered == ["name", "email", "phone", "is_active", "created_at"]
    assert not field.required
