"""Customers, their orders and their vouchers."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models


class Customer(models.Model):
    """A person who has signed up."""

    user = models.OneToOneField(User, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    email = models.EmailField()
    phone = models.CharField(max_length=40, blank=True)
    newsletter = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Customer]] = models.Manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Copies of one book, ordered by a customer."""

    class Status(models.TextChoices):
        OPEN = "open"
        PAID = "paid"
        CANCELED = "canceled"

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    title = models.CharField(max_length=100)
    copies = models.PositiveSmallIntegerField(default=1)
    total = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal(0))
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    placed_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Order]] = models.Manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"order {self.pk}: {self.copies} x {self.title}"

    @property
    def phone(self) -> str:
        """Return the number for an SMS about the order."""
        return str(self.customer.phone)


class Voucher(models.Model):
    """A discount on the next order."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="vouchers")
    code = models.CharField(max_length=40, unique=True)
    percent = models.PositiveSmallIntegerField()

    objects: ClassVar[models.Manager[Voucher]] = models.Manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.code} ({self.percent} %)"
