"""The app of the bookshop."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Flowcontrol finds ``flow_actions`` itself; nothing has to be connected here."""

    name = "shop"
    verbose_name = "Paper & Ink"
