"""Badges: a state as an icon and a word, never as a colour alone."""

from __future__ import annotations

from django.utils.html import format_html

from flowcontrol_core.models import Outcome, Status

_ICONS: dict[str, str] = {
    Status.PENDING: "○",
    Status.RUNNING: "▶",
    Status.WAITING: "◷",
    Status.PAUSED: "‖",
    Status.BLOCKED: "⊘",
    Outcome.COMPLETE: "✓",
    Outcome.ABORTED: "■",
    Outcome.ERRORED: "✗",
    Outcome.OBSOLETE: "⌀",
    Outcome.CANCELED: "⊝",
    "active": "✓",
    "off": "○",
    "paused": "‖",
    "draft": "✎",
    "published": "✓",
    "warning": "!",
    "error": "✗",
    "info": "i",
    "added": "+",
    "removed": "-",
    "moved": "↕",
    "changed": "✎",
    "option": "✎",
}


def flag(kind: str, text: object) -> str:
    """Give a badge of a kind with a text."""
    icon = _ICONS.get(kind, "•")
    return format_html(
        '<span class="fc-badge fc-{}"><span class="fc-icon" aria-hidden="true">{}</span> {}</span>',
        kind,
        icon,
        text,
    )


def run_badge(status: str, outcome: str = "") -> str:
    """Give the badge of a run: that of its outcome once it has ended."""
    if outcome and outcome in Outcome.values:
        return flag(outcome, Outcome(outcome).label)
    return flag(status, Status(status).label if status in Status.values else status)
