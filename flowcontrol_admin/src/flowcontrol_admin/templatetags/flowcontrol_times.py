"""Times as a person says them, with the exact date in a tooltip."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html

from flowcontrol_admin.run_texts import show_brief, show_datetime, show_distance

register = template.Library()


@register.simple_tag
def when(at: datetime | None, text: str = "") -> str:
    """Return a time, written briefly or as the text that is given."""
    return _tag(at, text or show_brief(at)) if at else ""


@register.simple_tag
def distance(when: datetime | None, now: datetime) -> str:
    """Return how far a time is from now."""
    return _tag(when, show_distance(when, now)) if when else ""


def _tag(when: datetime, text: str) -> str:
    shown = '<time datetime="{}" title="{}">{}</time>'
    return format_html(shown, timezone.localtime(when).isoformat(), show_datetime(when), text)
