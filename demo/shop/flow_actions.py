"""The actions and the trigger of the shop; Flowcontrol imports this module by its name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms

from flowcontrol.base import BaseAction, BoundConfig, Effects, RunContext
from flowcontrol.forms import ExpressionField
from flowcontrol.registry import register_action, register_trigger
from shop.carrier import carrier
from shop.models import Customer, Order, Voucher

order_paid = register_trigger(
    "shop.order_paid",
    label="Order paid",
    model="shop.order",
    payload={"amount": "the paid amount", "method": "the method of payment"},
)


@register_action
class GiveVoucher(BaseAction):
    """Create a voucher, in one transaction with the checkpoint: exactly one, in any case."""

    name = "give_voucher"
    icon = "card"
    verbose_name = "Give a voucher"
    group = "Shop"
    effects = Effects.DATABASE
    object_type = "shop.customer"

    class Config(forms.Form):
        percent = forms.IntegerField(min_value=1, max_value=100)

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        customer: Customer = obj
        code = f"HELLO-{customer.pk}-{config.percent}"
        Voucher.objects.create(customer_id=customer.pk, code=code, percent=config.percent)
        run.state["voucher"] = code

    def summary(self, config: BoundConfig) -> str:
        return f"Give a voucher of {config.source('percent')} %"


@register_action
class BookParcel(BaseAction):
    """Call another system, which recognises a repeated call by its key."""

    name = "book_parcel"
    icon = "box"
    verbose_name = "Book a parcel"
    group = "Shop"
    effects = Effects.EXTERNAL
    object_type = "shop.order"

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        order: Order = obj
        run.state["parcel"] = carrier.book(str(order), key=run.idempotency_key)

    def summary(self, config: BoundConfig) -> str:
        return "Book a parcel"


@register_action
class CountOrders(BaseAction):
    """Only read, so that no checkpoint is needed."""

    name = "count_orders"
    icon = "document"
    verbose_name = "Count the orders of a day"
    group = "Shop"
    effects = Effects.NONE

    class Config(forms.Form):
        days_ago = ExpressionField(help_text="0 means today.")

    def run(self, *, run: RunContext, obj: Any, config: Any) -> None:
        day = run.now.astimezone(run.time_zone).date() - timedelta(days=int(config.days_ago))
        count = Order.objects.filter(placed_at__date=day).count()
        run.state["lines"] = [*run.state.get("lines", []), f"{day:%a %d %b}: {count}"]

    def summary(self, config: BoundConfig) -> str:
        return f"Count the orders of a day ({config.source('days_ago')} days ago)"
