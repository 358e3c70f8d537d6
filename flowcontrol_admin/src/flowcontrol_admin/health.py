"""The pages about the site as a whole: its health, also as JSON for programs, and its plugins."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext

from flowcontrol.conf import get_settings
from flowcontrol.health import check_health
from flowcontrol.models import BulkOperation, FlowEvent, Status
from flowcontrol.plugins import PluginStatus, plugin_manager, with_migrations
from flowcontrol.registry import registry
from flowcontrol_admin.operator_actions import refusals
from flowcontrol_admin.pages import Page

MOST_OPERATIONS = 20
_BADGES = {PluginStatus.ACTIVE: "active", PluginStatus.DISABLED: "off"}


def show_health(page: Page) -> HttpResponse:
    """Show what is wrong and how to fix it, the live runs, the workers and bulk operations."""
    health = check_health()
    return page.render(
        "health.html",
        title=gettext("Health"),
        health=health,
        workers=[
            {**worker, "last_sweep": parse_datetime(worker["last_sweep"])}
            for worker in health.workers
        ],
        live=[(Status(status).label, count) for status, count in sorted(health.live.items())],
        operations=[
            (operation, list(refusals(operation)))
            for operation in BulkOperation.objects.order_by("-pk")[:MOST_OPERATIONS]
        ],
        pruned=FlowEvent.objects.filter(key="").order_by("-pk").first(),
    )


def show_health_json(_page: Page) -> HttpResponse:
    """Return the same as JSON, with the status 503 where something is urgent."""
    health = check_health()
    return JsonResponse(health.as_json(), status=200 if health.is_healthy else 503)


def has_token(request: HttpRequest) -> bool:
    """Return whether a request names the token of the settings; raises PermissionDenied if wrong.

    The comparison takes the same time wherever they differ.
    """
    token = get_settings().HEALTH_TOKEN
    scheme, _space, given = request.headers.get("Authorization", "").partition(" ")
    if not token or scheme.lower() != "bearer":
        return False
    if not constant_time_compare(given.strip(), token):
        raise PermissionDenied
    return True


def show_plugins(page: Page) -> HttpResponse:
    """Show all plugins, their status, and what to do about it."""
    reports = with_migrations(plugin_manager.reports)
    plugins = {report.name for report in reports}
    actions, triggers = registry.actions.values(), registry.triggers.values()
    return page.render(
        "plugins.html",
        title=gettext("Plugins"),
        reports=[
            (report, _BADGES.get(report.status, "error"), report.status.label) for report in reports
        ],
        own_actions=sorted(entry.key for entry in actions if entry.plugin not in plugins),
        own_triggers=sorted(entry.key for entry in triggers if entry.plugin not in plugins),
    )
