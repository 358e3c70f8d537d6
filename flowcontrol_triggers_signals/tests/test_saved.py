"""Created and updated: what fires, with which payload, and what it costs."""

from __future__ import annotations

import gc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.serializers import serialize
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F, Model
from django.db.models.signals import post_save

from flowcontrol.models import FlowRun, SkippedFiring
from flowcontrol.testing import run_due
from flowcontrol_triggers_signals import receivers
from tests.shop.models import Customer, Order, Parcel, Voucher

from .conftest import Listen, fired, payloads, queries, warm

pytestmark = pytest.mark.django_db


def test_created_fires_once_with_the_instance(listen: Listen) -> None:
    """The known failure: the handler was garbage-collected, or passed the class."""
    gc.collect()
    listen("shop.customer.created", condition="object.name == 'Ada'")
    ada = Customer.objects.create(name="Ada")
    ada.name = "Bob"
    ada.save()
    run = FlowRun.objects.get()
    assert (run.object_key, run.object_text, run.payload) == (str(ada.pk), "Ada", {})


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("shop.parcel", lambda: Parcel.objects.create(weight_grams=5)),
        ("shop.voucher", lambda: Voucher.objects.create(code="abc ")),
    ],
)
def test_other_kinds_of_keys_fire_created_and_not_updated(
    listen: Listen, key: str, make: Any
) -> None:
    listen(f"{key}.created")
    listen(f"{key}.updated")
    instance = make()
    assert fired() == [f"{key}.created"]
    assert FlowRun.objects.get().object_key == str(instance.pk)


def test_each_kind_of_key_fires_updated(listen: Listen) -> None:
    parcel, voucher = Parcel.objects.create(), Voucher.objects.create(code="abc ")
    listen("shop.parcel.updated")
    listen("shop.voucher.updated")
    parcel.weight_grams, voucher.amount = 7, Decimal("1.50")
    parcel.save()
    voucher.save()
    assert payloads() == [
        {"changed": ["weight_grams"], "old": {"weight_grams": 0}},
        {"changed": ["amount"], "old": {"amount": Decimal(0)}},
    ]


def test_updated_names_the_changed_fields_and_their_old_values(
    listen: Listen, order: Order, ada: Customer
) -> None:
    listen("shop.order.updated", condition="payload.old.total < object.total")
    order.total, order.status = Decimal("12.50"), Order.Status.PAID
    order.customer = Customer.objects.create(name="Bob")
    order.save()
    (payload,) = payloads()
    assert sorted(payload.pop("changed")) == ["customer", "status", "total"]
    assert payload["old"] == {"customer": ada.pk, "total": Decimal(5), "status": "open"}


def test_save_without_a_change_fires_nothing(listen: Listen, order: Order) -> None:
    listen("shop.order.updated")
    order.save()
    assert fired() == []


@pytest.mark.parametrize("same", [5, 5.0, "5", "5.00", Decimal("5.000")])
def test_same_value_of_another_type_is_no_change(listen: Listen, order: Order, same: Any) -> None:
    listen("shop.order.updated")
    order.total = same
    order.save()
    assert fired() == []


def test_database_expression_is_a_change(listen: Listen, order: Order) -> None:
    listen("shop.order.updated")
    order.total = F("total") + 1
    order.save()
    assert payloads() == [{"changed": ["total"], "old": {"total": Decimal(5)}}]


def test_only_what_update_fields_names_can_have_changed(listen: Listen, order: Order) -> None:
    listen("shop.order.updated")
    order.total, order.status = Decimal(9), Order.Status.PAID
    order.save(update_fields=["status"])
    assert payloads() == [{"changed": ["status"], "old": {"status": "open"}}]


def test_foreign_key_in_update_fields_may_be_named_by_its_column(
    listen: Listen, order: Order, ada: Customer
) -> None:
    listen("shop.order.updated")
    order.customer = Customer.objects.create(name="Bob")
    order.save(update_fields=["customer_id"])
    assert payloads() == [{"changed": ["customer"], "old": {"customer": ada.pk}}]


def test_save_of_no_compared_field_reads_nothing(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.updated")
    ada.api_token = "other"
    with queries() as sent:
        ada.save(update_fields=["api_token"])
    assert len(sent) == 1
    assert fired() == []


def test_deferred_field_is_neither_read_nor_a_change(listen: Listen, order: Order) -> None:
    listen("shop.order.updated")
    partial = Order.objects.only("status").get(pk=order.pk)
    partial.status = Order.Status.PAID
    with queries() as sent:
        partial.save()
    assert [sql.split()[0] for sql in sent[:2]] == ["SELECT", "UPDATE"]
    assert "total" not in sent[0]
    assert payloads()[0]["changed"] == ["status"]


def test_secrets_are_neither_compared_nor_shown(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.updated")
    ada.api_token, ada.phone = "other", "031"
    with queries() as sent:
        ada.save()
    assert "api_token" not in sent[0]
    assert payloads() == [{"changed": ["phone"], "old": {"phone": "030"}}]


def test_object_saved_with_a_key_that_exists_is_updated(listen: Listen, order: Order) -> None:
    listen("shop.order.created")
    listen("shop.order.updated")
    Order(pk=order.pk, customer_id=order.customer_id, total=6).save()
    assert fired() == ["shop.order.updated"]


def test_second_save_of_an_object_compares_with_the_first(listen: Listen, order: Order) -> None:
    listen("shop.order.updated")
    for total in (6, 6, 7):
        order.total = Decimal(total)
        order.save()
    assert [payload["old"]["total"] for payload in payloads()] == [5, 6]


def test_save_that_failed_leaves_nothing_for_the_next_one(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.updated")
    ada.name = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError), transaction.atomic():
        ada.save()
    ada.name = "Bob"
    ada.save(update_fields=["api_token"])
    assert fired() == []
    assert receivers._BEFORE not in ada.__dict__


def test_chosen_fields_must_have_changed(listen: Listen, order: Order) -> None:
    listen("shop.order.updated", config={"changed": ["status", "customer"]})
    order.total = Decimal(6)
    order.save()
    assert fired() == []
    order.status = Order.Status.PAID
    order.save()
    assert fired() == ["shop.order.updated"]
    assert SkippedFiring.objects.count() == 0


def test_one_of_several_flow_triggers_may_be_choosy(listen: Listen, order: Order) -> None:
    listen("shop.order.updated", config={"changed": ["status"]})
    chosen = listen("shop.order.updated", config={"changed": []})
    order.total = Decimal(6)
    order.save()
    assert [run.flow for run in FlowRun.objects.all()] == [chosen.flow]


def test_saving_without_listeners_costs_no_further_query(ada: Customer) -> None:
    warm()
    ada.name = "Bob"
    with queries() as sent:
        ada.save()
    assert [sql.split()[0] for sql in sent] == ["UPDATE"]
    with queries() as sent:
        Customer.objects.create(name="Eve")
    assert [sql.split()[0] for sql in sent] == ["INSERT"]
    assert receivers._BEFORE not in ada.__dict__


def test_listening_to_created_does_not_make_updates_dearer(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.created")
    with queries() as sent:
        ada.save()
    assert [sql.split()[0] for sql in sent] == ["UPDATE"]


def test_listening_to_updates_costs_one_select(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.updated")
    with queries() as sent:
        ada.save()
    assert [sql.split()[0] for sql in sent] == ["SELECT", "UPDATE"]


def test_listening_to_updates_does_not_make_creating_dearer(listen: Listen) -> None:
    listen("shop.customer.updated")
    listen("shop.parcel.updated")
    with queries() as sent:
        Customer.objects.create(name="Eve")
        Parcel.objects.create()
    assert [sql.split()[0] for sql in sent] == ["INSERT", "INSERT"]


def test_run_rolls_back_with_the_save(listen: Listen) -> None:
    listen("shop.customer.created")
    with transaction.atomic():
        Customer.objects.create(name="Ada")
        assert fired() == ["shop.customer.created"]
        transaction.set_rollback(True)
    assert fired() == []


def test_run_is_not_executed_before_the_commit(listen: Listen) -> None:
    listen("shop.customer.created")
    Customer.objects.create(name="Ada")
    assert FlowRun.objects.get().status == "pending"
    run_due()
    assert FlowRun.objects.get().outcome == "complete"


def test_fixtures_fire_nothing(listen: Listen, ada: Customer, tmp_path: Path) -> None:
    fixture = tmp_path / "customers.json"
    changed = Customer(pk=ada.pk, name="Changed", created_at=ada.created_at)
    new = Customer(pk=ada.pk + 1, name="New", created_at=ada.created_at)
    fixture.write_text(serialize("json", [changed, new]))
    listen("shop.customer.created")
    listen("shop.customer.updated")
    call_command("loaddata", str(fixture), verbosity=0)
    assert Customer.objects.count() == 2
    assert fired() == []


def test_fixtures_cost_no_query_more(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.updated")
    with queries() as sent:
        ada.save_base(raw=True)
    assert [sql.split()[0] for sql in sent] == ["UPDATE"]


def test_migrations_fire_nothing(listen: Listen) -> None:
    listen("auth.user.created")
    executor = MigrationExecutor(connection)
    state = executor.loader.project_state(executor.loader.graph.leaf_nodes("auth"))
    state.apps.get_model("auth", "User").objects.create(username="ada")
    assert fired() == []


@pytest.mark.parametrize(("model", "expected"), [(Order, True), (FlowRun, False)])
def test_only_configured_labels_are_listened_to(model: type[Model], expected: bool) -> None:
    live, _ = post_save._live_receivers(model)
    assert (receivers.__name__ in {each.__module__ for each in live}) == expected


def test_broken_flow_trigger_does_not_break_the_save(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    association = listen("shop.customer.created")
    association.condition = "object."
    association.save()
    Customer.objects.create(name="Ada")
    assert Customer.objects.count() == 1
    assert SkippedFiring.objects.get().reason == "error"


def test_choice_of_a_field_that_is_gone_does_not_break_the_save(
    listen: Listen, order: Order
) -> None:
    association = listen("shop.order.updated")
    association.config = {"changed": ["discount"]}
    association.save()
    order.total = Decimal(6)
    order.save()
    order.refresh_from_db()
    assert order.total == 6
    assert "discount" in SkippedFiring.objects.get().detail


def test_comparison_that_fails_does_not_break_the_save(
    listen: Listen,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no comparison")

    monkeypatch.setattr(receivers, "read_before", broken)
    listen("shop.order.updated")
    order.total = Decimal(6)
    order.save()
    order.refresh_from_db()
    assert order.total == 6
    assert "The triggers of shop.Order could not be fired" in caplog.text
