"""Models with the three kinds of primary key that a flow run may refer to: number, UUID, text."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=40, blank=True)
    is_active = models.BooleanField(default=True)
    # A field that expressions must never show, by its name.
    api_token = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    class Status(models.TextChoices):
        OPEN = "open"
        PAID = "paid"
        SENT = "sent"
        CANCELED = "canceled"

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    total = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal(0))
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)

    def __str__(self) -> str:
        return f"Order {self.pk}"


class Parcel(models.Model):
    """Its primary key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(Order, null=True, on_delete=models.SET_NULL, related_name="parcels")
    weight_grams = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"Parcel {self.pk}"


class Voucher(models.Model):
    """Its primary key is text; `abc`, `ABC` and `abc ` are three vouchers."""

    code = models.CharField(primary_key=True, max_length=40)
    amount = models.DecimalField(max_digits=10, decimal_places=2, default=Decimal(0))

    def __str__(self) -> str:
        return self.code
