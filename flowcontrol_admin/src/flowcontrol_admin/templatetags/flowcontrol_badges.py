"""Badges: a state as an icon and a word, never as a colour alone."""

from __future__ import annotations

from django import template
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from flowcontrol.flows import Sentence
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
def glyph(name: str) -> SafeString:
    """Return a symbol of ``icons.svg``, hidden from screen readers: the text says the same."""
    address = escape(f"{static('flowcontrol_admin/icons.svg')}#{name}")
    return mark_safe(f'<svg class="fc-i" aria-hidden="true"><use href="{address}"/></svg>')  # noqa: S308 - it is escaped


@register.simple_tag
def sentence(said: Sentence) -> SafeString:
    """Return what a step does: its head in bold, and each value as a chip."""
    rest = "".join(
        f"<var>{escape(text)}</var>" if is_value else escape(text)
        for text, is_value in said.phrases
    )
    shown = f" <span>{rest}</span>" if rest else ""
    return mark_safe(f"<b>{escape(said.head)}</b>{shown}")  # noqa: S308 - each part is escaped
