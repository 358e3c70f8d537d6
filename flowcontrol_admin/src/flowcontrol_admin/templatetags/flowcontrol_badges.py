"""Badges: a state as an icon and a word, never as a colour alone."""

from __future__ import annotations

from django import template
from django.templatetags.static import static
from django.utils.html import format_html

from flowcontrol.models import Outcome, Status

register = template.Library()
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
    "draft": "✎",
    "published": "✓",
    "warning": "!",
    "error": "✗",
    "added": "+",
    "removed": "\N{MINUS SIGN}",
    "moved": "↕",
    "changed": "✎",
    "option": "✎",
    "policy": "↻",
}


@register.simple_tag
def icon(kind: str) -> str:
    """Return the icon of a kind, hidden from screen readers: the text says the same."""
    sign = _ICONS.get(kind, "•")
    return format_html('<span class="fc-icon" aria-hidden="true">{}</span>', sign)


@register.simple_tag
def badge(kind: str, text: object) -> str:
    """Return a badge of a kind with a text."""
    return format_html('<span class="fc-badge fc-{}">{} {}</span>', kind, icon(kind), text)


@register.simple_tag
def run_badge(status: str, outcome: str = "") -> str:
    """Return the badge of a run: that of its outcome once it has ended."""
    if outcome in Outcome.values:
        return badge(outcome, Outcome(outcome).label)
    return badge(status, Status(status).label if status in Status.values else status)


@register.simple_tag
def glyph(name: str) -> str:
    """Return a symbol of ``icons.svg``, hidden from screen readers: the text says the same."""
    address = static("flowcontrol_admin/icons.svg")
    shown = '<svg class="fc-i" aria-hidden="true"><use href="{}#{}"/></svg>'
    return format_html(shown, address, name)
