"""The system check of this plugin."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004

from flowcontrol.conf import get_settings
from flowcontrol_triggers_signals.signal_models import find_models


def check_signal_models(**_: Any) -> list[CheckMessage]:
    """Return a warning for each label that names no model; the triggers of all others work."""
    return [
        Warning(
            f'FLOWCONTROL["SIGNAL_MODELS"]: {problem}',
            hint='List labels of the form "app_label.model", such as "auth.user".',
            id="flowcontrol_signals.W001",
        )
        for problem in find_models(get_settings().SIGNAL_MODELS).problems
    ]
