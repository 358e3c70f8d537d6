"""The app of the processes that tests start; the tests' own process does without it."""

from __future__ import annotations

from django.apps import AppConfig


class EffectsConfig(AppConfig):
    """Without migrations: the table is made when the test database is."""

    name = "tests.effects"
    label = "effects"
    default_auto_field = "django.db.models.BigAutoField"
