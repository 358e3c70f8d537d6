"""A layout as SVG: classes only, so that a strict content security policy holds and the style of
the page colours it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from flowcontrol_admin.diagram.measure import BOX_HEIGHT, BOX_WIDTH, LABEL_HEIGHT, LABEL_PADDING
from flowcontrol_admin.diagram.overlay import DIFF_MARKS, RUN_MARKS, Mark, Overlay
from flowcontrol_admin.diagram.place import (
    PIN,
    Arrow,
    Bar,
    Box,
    Frame,
    Label,
    Layout,
    Pin,
    Point,
    Rail,
    Shape,
)
from flowcontrol_admin.diagram.plan import Face, Plan
from flowcontrol_admin.diagram.text import TEXT, TITLE, cut

_RADIUS = 7
#: The tinted tile with the icon, the texts right of it, and the room that is left for them.
_TILE, _TILE_AT, _ICON, _TEXT_AT, _TEXT_ROOM = 22, 8, 14, 37, BOX_WIDTH - 45
_MARK, _MARK_ICON = 8, 10
_MARKS = {**RUN_MARKS, **DIFF_MARKS}
#: What is drawn first lies under the rest.
_LAYERS: tuple[type[Shape], ...] = (Frame, Rail, Bar, Arrow, Pin, Label, Box)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a diagram is drawn: what it is called, where its boxes lead, and where icons are.

    ``link`` returns the address of a step, an empty one for none; ``icons`` is the address of the
    sprite, without which no icons are drawn. ``is_rtl`` mirrors it, for languages that are read
    from right to left.
    """

    name: str
    start: str
    link: Callable[[str], str] = lambda step: f"#step-{step}"
    icons: str = ""
    overlay: Overlay | None = None
    is_rtl: bool = False


def draw_layout(layout: Layout, plan: Plan, drawing: Drawing) -> SafeString:
    """Return the SVG of a layout."""
    pen = _Pen(layout, plan, drawing)
    shapes = sorted(layout.shapes, key=lambda shape: _LAYERS.index(type(shape)))
    parts = [text for shape in shapes for text in pen.draw(shape)]
    kinds = {"run": " fc-over", "diff": " fc-diff-over"}
    kind = kinds.get(drawing.overlay.kind, "") if drawing.overlay else ""
    direction = ' direction="rtl"' if drawing.is_rtl else ""
    width, height = layout.width, layout.height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fc-svg{kind}" role="group"'
        f' aria-label="{escape(drawing.name)}"{direction}'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    )
    return mark_safe(f"{head}{''.join(parts)}</svg>")  # noqa: S308 - all texts are escaped


@dataclass(frozen=True, slots=True)
class _Pen:
    layout: Layout
    plan: Plan
    drawing: Drawing

    def draw(self, shape: Shape) -> Iterator[str]:
        """Yield the SVG of one shape."""
        match shape:
            case Rail():
                yield self._rail(shape)
            case Box():
                yield from self._box(shape)
            case Label():
                yield self._label(shape)
            case Pin():
                yield from self._pin(shape)
            case _:
                yield self._ground(shape)

    def _ground(self, shape: Frame | Bar | Arrow) -> str:
        kind = self._kind(shape.step)
        x, y = shape.at
        match shape:
            case Frame(width=width, height=height):
                left = self._x(x, width)
                size = f'width="{width}" height="{height}" rx="12"'
                return f'<rect class="fc-fr{kind}" x="{left}" y="{y}" {size}/>'
            case Bar(width=width):
                left = self._x(x, width)
                lines = f"M{left} {y - 2}h{width}M{left} {y + 2}h{width}"
                return f'<path class="fc-bar{kind}" d="{lines}"/>'
            case Arrow():
                head = f"M{self._x(x) - 5} {y + 8}l5 -8l5 8z"
                return f'<path class="fc-ar{kind}{self._reached(shape.step)}" d="{head}"/>'

    def _rail(self, rail: Rail) -> str:
        overlay = self.drawing.overlay
        took = " fc-took" if overlay and overlay.is_taken(self.plan, rail.passage) else ""
        dash = " fc-dash" if rail.is_dashed else ""
        kind = self._kind(rail.step) if rail.step else ""
        points = [Point(self._x(x), y) for x, y in rail.points]
        return f'<path class="fc-e{kind}{dash}{took}" d="{path(points)}"/>'

    def _label(self, label: Label) -> str:
        x, y = self._x(label.at.x, label.width), label.at.y
        start = self._x(label.at.x + LABEL_PADDING)
        overlay = self.drawing.overlay
        never = ""
        if overlay and overlay.kind == "run":
            into = self.plan.inside(label.step, label.lane.name)
            is_in = overlay.has_reached(into[0]) if into else False
            never = "" if is_in or (label.step, label.lane.name) in overlay.entered else " is-never"
        return (
            f'<g class="fc-lab{self._kind(label.step)}{never}"><rect x="{x}" y="{y}"'
            f' width="{label.width}" height="{LABEL_HEIGHT}" rx="9"/>'
            f'<text x="{start}" y="{y + 13}">{escape(label.lane.label)}</text></g>'
        )

    def _box(self, box: Box) -> Iterator[str]:
        face, (x, y) = self.plan.faces[box.step], box.at
        left, href = self._x(x, BOX_WIDTH), self.drawing.link(box.step)
        name = escape(self._name(box.step, face))
        opened = f'<a href="{escape(href)}"' if href else "<g"
        yield f'{opened} class="fc-n{self._classes(box.step, face)}"><title>{name}</title>'
        size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"'
        yield f'<rect class="fc-nb" x="{left}" y="{y}" {size}/>'
        tile = self._x(x + _TILE_AT, _TILE)
        size = f'width="{_TILE}" height="{_TILE}" rx="6"'
        yield f'<rect class="fc-nt" x="{tile}" y="{y + _TILE_AT}" {size}/>'
        yield self._icon(face.icon, Point(x + _TILE_AT + 4, y + 12), _ICON)
        start = self._x(x + _TEXT_AT)
        title, text = cut(face.title, TITLE, _TEXT_ROOM), cut(face.text, TEXT, _TEXT_ROOM)
        title_y = y + 16 if text else y + 23
        yield f'<text class="fc-t1" x="{start}" y="{title_y}">{escape(title)}</text>'
        if text:
            yield f'<text class="fc-t2" x="{start}" y="{y + 30}">{escape(text)}</text>'
        yield from self._marks(box)
        yield "</a>" if href else "</g>"

    def _marks(self, box: Box) -> Iterator[str]:
        """Yield the mark at the corner of a box, and how often its step was called."""
        overlay, (x, y) = self.drawing.overlay, box.at
        if overlay is None:
            return
        mark = _MARKS.get(overlay.mark(box.step), Mark("", ""))
        if mark.icon and not (overlay.kind == "run" and not overlay.has_reached(box.step)):
            icon = self._icon(mark.icon, Point(x + BOX_WIDTH - _MARK_ICON // 2, y - 5), _MARK_ICON)
            circle = f'<circle cx="{self._x(x + BOX_WIDTH)}" cy="{y}" r="{_MARK}"/>'
            yield f'<g class="fc-mk">{circle}{icon}</g>'
        count = overlay.counts.get(box.step, 0)
        if count > 1:
            shown = _times(count)
            yield (
                f'<text class="fc-times" x="{self._x(x + BOX_WIDTH - 12)}" y="{y + 16}"'
                f' text-anchor="end">{shown}</text>'
            )

    def _pin(self, pin: Pin) -> Iterator[str]:
        x, y = pin.at
        yield f'<g class="fc-pin"><circle cx="{self._x(x)}" cy="{y}" r="{PIN}"/>'
        yield self._icon("play" if pin.is_first else "flag", Point(x - 6, y - 6), 12)
        text = self.drawing.start if pin.is_first else _("End")
        room = max(self.layout.width - x - 18, 0)
        shown = escape(cut(text, TITLE, room))
        yield f'<text class="fc-t1" x="{self._x(x + 18)}" y="{y + 4}">{shown}</text></g>'

    def _icon(self, name: str, at: Point, size: int) -> str:
        if not (name and self.drawing.icons):
            return ""
        use = f'<use href="{escape(self.drawing.icons)}#{escape(name)}"/>'
        place = f'x="{self._x(at.x, size)}" y="{at.y}" width="{size}" height="{size}"'
        return f'<svg class="fc-g" {place}>{use}</svg>'

    def _name(self, step: str, face: Face) -> str:
        """Return all that is known of a step, for the tooltip and for screen readers."""
        overlay = self.drawing.overlay
        mark = overlay.mark(step) if overlay else ""
        off = _("switched off") if face.is_disabled else ""
        words = filter(None, [face.title, face.text, off])
        name = ", ".join(words)
        if mark:
            name = _("%(step)s: %(status)s") % {"step": name, "status": _MARKS[mark].label}
        count = overlay.counts.get(step, 0) if overlay else 0
        return f"{name}, {_times(count)}" if count > 1 else name

    def _classes(self, step: str, face: Face) -> str:
        mark = self.drawing.overlay.mark(step) if self.drawing.overlay else ""
        parts = [
            self._kind(step),
            f" is-{mark}" if mark else "",
            " fc-k" if face.lanes else "",
            " fc-off" if face.is_disabled else "",
        ]
        return "".join(parts)

    def _kind(self, step: str) -> str:
        kind = self.plan.faces[step].kind
        return f" k-{escape(kind)}" if kind else ""

    def _reached(self, step: str) -> str:
        overlay = self.drawing.overlay
        return " fc-took" if overlay and overlay.kind == "run" and overlay.has_reached(step) else ""

    def _x(self, x: int, width: int = 0) -> int:
        """Return where something is drawn that begins at x: mirrored for some languages."""
        return self.layout.width - x - width if self.drawing.is_rtl else x


def _times(count: int) -> str:
    return f"{count}\N{MULTIPLICATION SIGN}"


def path(points: list[Point]) -> str:
    """Return the path of a line with round corners; its parts run along the axes."""
    corners = [point for point, following in pairwise(points) if point != following] + points[-1:]
    text = f"M{corners[0].x} {corners[0].y}"
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        begin, end = _toward(corner, before), _toward(corner, after)
        text += f"L{begin.x} {begin.y}Q{corner.x} {corner.y} {end.x} {end.y}"
    return f"{text}L{corners[-1].x} {corners[-1].y}"


def _toward(corner: Point, other: Point) -> Point:
    """Return the point on the line to another one where the corner begins to be round."""
    return Point(corner.x + _limited(other.x - corner.x), corner.y + _limited(other.y - corner.y))


def _limited(distance: int) -> int:
    most = min(_RADIUS, abs(distance) // 2)
    return most if distance > 0 else -most
