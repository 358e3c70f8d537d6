"""The forms of the shop."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User

from shop.models import Customer, Order

PRICES = {
    "Moby-Dick": Decimal("19.90"),
    "Middlemarch": Decimal("24.50"),
    "The Trial": Decimal("12.00"),
}


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """Django's own form for new users, with the details of a customer."""

    name = forms.CharField(max_length=100)
    email = forms.EmailField()
    phone = forms.CharField(max_length=40, required=False)
    newsletter = forms.BooleanField(required=False)

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username", "email")

    def save(self, commit: bool = True) -> Any:
        user = super().save(commit)
        names = ("name", "email", "phone", "newsletter")
        Customer.objects.create(user=user, **{name: self.cleaned_data[name] for name in names})
        return user


class OrderForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form for a book and a number of copies."""

    title = forms.ChoiceField(choices=[(title, f"{title}: {PRICES[title]}") for title in PRICES])

    class Meta:
        model = Order
        fields = ("title", "copies")

    def save(self, commit: bool = True) -> Any:
        self.instance.total = PRICES[self.instance.title] * self.instance.copies
        return super().save(commit)
