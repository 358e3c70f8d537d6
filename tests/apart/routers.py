"""The router of the site, as the how-to guide has it."""

from __future__ import annotations

from typing import Any


class FlowcontrolRouter:
    """Keeps the tables of Flowcontrol in the database ``flowcontrol``, and all others out of it."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "flowcontrol" if model._meta.app_label == "flowcontrol_core" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "flowcontrol") == (app_label == "flowcontrol_core")
