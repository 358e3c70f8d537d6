"""The health of the whole as a page, the issues first, and as JSON for programs."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse
from django.utils.translation import gettext as say

from flowcontrol.runs import refusal_text
from flowcontrol_admin.pages import VIEW_RUN, Page
from flowcontrol_core.health import check_health
from flowcontrol_core.models import BulkOperation, FlowEvent, Status

MOST_JOBS = 20


def show_health(page: Page) -> HttpResponse:
    """What is wrong and what to do about it, the live runs, and who works."""
    health = check_health()
    return page.render(
        "health.html",
        title=say("Health"),
        health=health,
        live=[(Status(status).label, count) for status, count in sorted(health.live.items())],
        jobs=[_with_refusals(each) for each in BulkOperation.objects.order_by("-pk")[:MOST_JOBS]],
        pruned=FlowEvent.objects.filter(key="").order_by("-pk").first(),
        links_runs=page.may(VIEW_RUN),
        crumbs=[(say("Health"), "")],
    )


def _with_refusals(operation: BulkOperation) -> BulkOperation:
    lines = [(refusal_text(operation, each), each["count"]) for each in operation.refusals]
    operation.refusal_lines = lines  # type: ignore[attr-defined]
    return operation


def show_health_json(_page: Page) -> HttpResponse:
    """The same as JSON, with the status 503 where anything is wrong."""
    health = check_health()
    return JsonResponse(health.as_json(), status=200 if health.is_healthy else 503)
