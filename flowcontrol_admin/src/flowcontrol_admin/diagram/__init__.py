"""A flow as a picture: an SVG that the server draws, for pages, mails and documentation."""

from __future__ import annotations

from flowcontrol_admin.diagram.image import draw, draw_difference
from flowcontrol_admin.diagram.overlay import Overlay

__all__ = ["Overlay", "draw", "draw_difference"]
