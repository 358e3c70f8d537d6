"""Deleted: the run has no object, the payload describes it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from flowcontrol.models import FlowRun
from flowcontrol.testing import run_due
from flowcontrol_triggers_signals.model_triggers import describe
from tests.shop.models import Customer, Order, Voucher

from .conftest import Listen, fired, payloads, queries, warm

pytestmark = pytest.mark.django_db


def test_payload_carries_key_text_and_fields(listen: Listen, order: Order) -> None:
    listen("shop.order.deleted")
    key = order.pk
    order.delete()
    assert payloads() == [
        {
            "key": str(key),
            "text": f"Order {key}",
            "fields": {
                "id": key,
                "customer": order.customer_id,
                "total": Decimal(5),
                "status": "open",
            },
        }
    ]


def test_run_goes_without_an_object_and_completes(listen: Listen) -> None:
    listen("shop.voucher.deleted", condition="payload.key == 'abc '")
    Voucher.objects.create(code="abc ").delete()
    Voucher.objects.create(code="abc").delete()
    run_due()
    run = FlowRun.objects.get()
    assert (run.object_type, run.object_key, run.outcome) == ("", None, "complete")


def test_secrets_are_not_in_the_payload(listen: Listen, ada: Customer) -> None:
    listen("shop.customer.deleted")
    ada.delete()
    assert "hidden" not in str(payloads())
    assert "api_token" not in payloads()[0]["fields"]


def test_password_of_a_user_is_not_in_the_payload(listen: Listen) -> None:
    listen("auth.user.deleted")
    User.objects.create_user("ada", password="sesame").delete()
    fields = payloads()[0]["fields"]
    assert fields["username"] == "ada"
    assert "password" not in fields


def test_deleting_a_queryset_and_a_cascade_fire_for_each_object(
    listen: Listen, ada: Customer
) -> None:
    for total in (1, 2):
        Order.objects.create(customer=ada, total=total)
    listen("shop.order.deleted")
    listen("shop.customer.deleted")
    Customer.objects.all().delete()
    assert sorted(fired()) == ["shop.customer.deleted", *["shop.order.deleted"] * 2]


def test_run_rolls_back_with_the_deletion(listen: Listen, order: Order) -> None:
    listen("shop.order.deleted")
    with transaction.atomic():
        order.delete()
        assert fired() == ["shop.order.deleted"]
        transaction.set_rollback(True)
    assert fired() == []


def test_deleting_without_listeners_costs_no_further_query() -> None:
    voucher = Voucher.objects.create(code="abc")
    warm()
    with queries() as sent:
        voucher.delete()
    assert [sql.split()[0] for sql in sent] == ["DELETE"]


def test_an_object_is_not_described_without_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    voucher = Voucher.objects.create(code="abc")
    described: list[Voucher] = []

    def text(self: Voucher) -> str:
        described.append(self)
        return "abc"

    monkeypatch.setattr(Voucher, "__str__", text)
    voucher.delete()
    assert described == []


def test_deferred_fields_are_left_out_of_the_payload(order: Order) -> None:
    partial = Order.objects.only("status").get(pk=order.pk)
    with queries() as sent:
        assert set(describe(partial, Order)["fields"]) == {"id", "status"}
    assert sent == []
