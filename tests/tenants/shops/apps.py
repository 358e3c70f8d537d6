"""The app of the tenants themselves; its tables are in the shared schema."""

from __future__ import annotations

from django.apps import AppConfig


class ShopsConfig(AppConfig):
    """Without migrations: the tables are made when the test database is."""

    name = "tests.tenants.shops"
    label = "shops"
    default_auto_field = "django.db.models.BigAutoField"
