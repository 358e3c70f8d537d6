"""The app of the ledger."""

from __future__ import annotations

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Its first migration makes the table, the second adds a column."""

    name = "tests.ledger"
    label = "ledger"
    default_auto_field = "django.db.models.BigAutoField"
