"""The Django app of the example: its tables, under a name of its own."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Found through the entry point group `flowcontrol.apps`."""

    name = "flowcontrol_example_audit"
    default_auto_field = "django.db.models.BigAutoField"
