"""The diagram of a document, and of what changed from one document to another."""

from __future__ import annotations

from collections.abc import Callable

from django.templatetags.static import static
from django.utils.safestring import SafeString
from django.utils.translation import get_language_bidi, gettext

from flowcontrol_admin.diagram.faces import plan_of, plan_of_difference
from flowcontrol_admin.diagram.overlay import Overlay
from flowcontrol_admin.diagram.place import lay_out
from flowcontrol_admin.diagram.plan import Plan
from flowcontrol_admin.diagram.svg import Drawing, draw_layout
from flowcontrol_core.document.tree import Document

ICONS = "flowcontrol_admin/icons.svg"


def draw(
    document: Document,
    *,
    overlay: Overlay | None = None,
    link: Callable[[str], str] = lambda step: f"#step-{step}",
    start: str = "",
) -> SafeString:
    """Return a document as SVG; ``run.css`` and ``track.css`` colour it.

    ``link`` returns the address that a step leads to, an empty text for none; ``start`` says what
    starts the flow; ``overlay`` marks where a run has been.
    """
    return _drawn(plan_of(document), overlay, link, start)


def draw_difference(
    old: Document,
    new: Document,
    *,
    link: Callable[[str], str] = lambda step: f"#step-{step}",
    start: str = "",
) -> SafeString:
    """Return the new document as SVG, with what was added, removed, changed and moved."""
    plan, overlay = plan_of_difference(old, new)
    return _drawn(plan, overlay, link, start)


def _drawn(
    plan: Plan, overlay: Overlay | None, link: Callable[[str], str], start: str
) -> SafeString:
    style = Drawing(
        name=gettext("Diagram of the flow"),
        start=start or gettext("Start"),
        link=link,
        icons=static(ICONS),
        overlay=overlay,
        is_rtl=get_language_bidi(),
    )
    return draw_layout(lay_out(plan), plan, style)
