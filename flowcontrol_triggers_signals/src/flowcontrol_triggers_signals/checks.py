"""The system check of this plugin."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004

from flowcontrol_triggers_signals.naming import SETTING, find_models, named_models


def check_signal_models(**_: Any) -> list[CheckMessage]:
    """Report what names no model: its triggers are missing, all others work."""
    return [
        Warning(
            f'FLOWCONTROL["{SETTING}"]: {problem}',
            hint='List labels of the form "app_label.model", such as "auth.user".',
            id="flowcontrol_signals.W001",
        )
        for problem in find_models(named_models()).problems
    ]
