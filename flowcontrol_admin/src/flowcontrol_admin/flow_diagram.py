"""The page with the diagram of a flow: as it is now, or what changed since another version."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext

from flowcontrol import flows
from flowcontrol.models import Flow, FlowVersion
from flowcontrol.registry import registry
from flowcontrol_admin.diagram import draw, draw_difference
from flowcontrol_admin.diagram.overlay import DIFF_MARKS
from flowcontrol_admin.editor import read_version
from flowcontrol_admin.pages import Page, url

#: At most this many triggers are named where the flow begins.
_MOST_NAMED = 2


def show_diagram(page: Page, flow: Flow) -> HttpResponse:
    """Show the present steps; with ``from``, what changed since the version of that number."""
    present = flows.present_version(flow)
    document, problems = read_version(present)
    versions = FlowVersion.objects.filter(flow=flow).defer("document").order_by("-number")
    numbers = [each.number for each in versions if present is None or each.pk != present.pk]
    wanted = page.request.GET.get("from", "")
    other = next((number for number in numbers if str(number) == wanted), None)
    options = {"link": _link(flow), "start": start_text(flow)}
    return page.render(
        "flow_diagram.html",
        title=flow.name,
        crumb=gettext("Diagram"),
        problems=problems,
        is_empty=not document.steps and not problems,
        numbers=numbers,
        other=other,
        marks=DIFF_MARKS.items() if other else (),
        **_drawn(flow, document, other, options),
    )


def _drawn(flow: Flow, document: Any, other: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if other is None:
        return {"diagram": draw(document, **options)}
    version = FlowVersion.objects.get(flow=flow, number=other)
    before, problems = read_version(version)
    drawn = draw(document, **options) if problems else draw_difference(before, document, **options)
    return {"diagram": drawn}


def _link(flow: Flow) -> Any:
    address = url("flow_editor", flow.pk)
    return lambda step: f"{address}#step-{step}"


def start_text(flow: Flow) -> str:
    """Return what starts a flow, in a few words."""
    names = [registry.trigger_label(each.trigger) for each in flows.associations(flow)]
    if not names:
        return gettext("Start")
    more = " …" if len(names) > _MOST_NAMED else ""
    return gettext("Starts with: %(triggers)s") % {
        "triggers": ", ".join(names[:_MOST_NAMED]) + more
    }
