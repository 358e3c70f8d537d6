"""The URLs of the shop; Django's own views log in and out."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-up/", views.SignUp.as_view(), name="sign-up"),
    path(
        "log-in/",
        LoginView.as_view(template_name="shop/form.html", extra_context={"title": "Log in"}),
        name="log-in",
    ),
    path("log-out/", LogoutView.as_view(), name="log-out"),
    path("orders/new/", views.PlaceOrder.as_view(), name="place-order"),
    path("orders/<int:pk>/pay/", views.pay_order, name="pay-order"),
    path("orders/<int:pk>/cancel/", views.cancel_order, name="cancel-order"),
    path("account/close/", views.close_account, name="close-account"),
]
