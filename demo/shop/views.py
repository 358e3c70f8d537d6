"""The views of the shop; each of them may start flows, and none of them knows a flow."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.views.decorators.http import require_POST
from django.views.generic import CreateView

from shop.flow_actions import order_paid
from shop.forms import OrderForm, SignUpForm
from shop.models import Customer, Order


def home(request: HttpRequest) -> HttpResponse:
    """Show the orders of the current user."""
    orders = Order.objects.filter(customer__user_id=request.user.pk)
    return render(request, "shop/home.html", {"orders": orders})


class SignUp(CreateView):  # type: ignore[type-arg]
    """Create the user and the customer in one transaction."""

    form_class = SignUpForm
    template_name = "shop/form.html"
    extra_context = {"title": "Sign up"}
    success_url = reverse_lazy("log-in")

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            return super().form_valid(form)


class PlaceOrder(LoginRequiredMixin, CreateView):  # type: ignore[type-arg]
    """Order copies of a book."""

    form_class = OrderForm
    template_name = "shop/form.html"
    extra_context = {"title": "Order a book"}
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        form.instance.customer = get_object_or_404(Customer, user_id=self.request.user.pk)
        return super().form_valid(form)


@require_POST
@login_required
def pay_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark an order as paid, and fire the trigger of the shop."""
    with transaction.atomic():
        order = _change_status(request, pk, Order.Status.PAID)
        order_paid(order, {"amount": order.total, "method": "card"})
    messages.success(request, "Thank you, your payment has arrived.")
    return redirect("home")


@require_POST
@login_required
def cancel_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel an unpaid order."""
    with transaction.atomic():
        _change_status(request, pk, Order.Status.CANCELED)
    messages.success(request, "Your order is canceled.")
    return redirect("home")


@require_POST
@login_required
def close_account(request: HttpRequest) -> HttpResponse:
    """Log out, and delete the user and the customer with the orders."""
    customer = get_object_or_404(Customer, user_id=request.user.pk)
    user = customer.user
    logout(request)
    with transaction.atomic():
        user.delete()
    messages.success(request, "Your account is closed.")
    return redirect("home")


def _change_status(request: HttpRequest, pk: int, status: Order.Status) -> Order:
    orders = Order.objects.select_for_update().filter(status=Order.Status.OPEN)
    order = get_object_or_404(orders, pk=pk, customer__user_id=request.user.pk)
    order.status = status
    order.save(update_fields=["status"])
    return order
