"""With DISPATCH = "celery", any process of the site hands new runs to Celery."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol_core import apps
from flowcontrol_core.runs.store.connection import senders

pytest.importorskip("celery")


def test_start_of_the_site_brings_in_the_tasks(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLOWCONTROL = {"DISPATCH": "celery"}
    imported: list[str] = []
    monkeypatch.setattr(apps, "import_module", imported.append)
    apps.load_dispatcher()
    assert imported == ["flowcontrol_core.tasks"]


def test_tasks_put_themselves_in_as_sender() -> None:
    import flowcontrol.tasks  # noqa: F401

    assert "celery" in senders
