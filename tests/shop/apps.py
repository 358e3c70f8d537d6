"""The app of the test models."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Without migrations: the tables are made when the test database is."""

    name = "tests.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
