"""The Django app of the example: it owns the table."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Flowcontrol finds it through the entry point group `flowcontrol.apps`."""

    name = "flowcontrol_example_audit"
    default_auto_field = "django.db.models.BigAutoField"
