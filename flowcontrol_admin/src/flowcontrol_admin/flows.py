"""The list of flows: what it shows, and the addresses of their pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.models import LIVE, Flow
from flowcontrol_admin.filters import ActiveFilter, ChangesFilter, PausedFilter
from flowcontrol_admin.pages import ADD_FLOW, CHANGE_FLOW, may, patterns, url
from flowcontrol_admin.routes import FLOW_ROUTES
from flowcontrol_admin.run_texts import show_short
from flowcontrol_admin.templatetags.flowcontrol_badges import badge, run_badge


class FlowList(ChangeList):
    """Counts the live runs of all shown flows with one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        counts = flows.live_counts(shown)
        for flow in shown:
            flow.shown_live = counts[flow.pk]
        self.result_list = shown


@admin.display(description=_("name"), ordering="name")
def shown_name(flow: Flow) -> str:
    shown = '<a href="{}">{}</a> <span class="fc-under">{}</span>'
    return format_html(shown, url("flow_editor", flow.pk), flow.name, flow.key)


@admin.display(description=_("status"), ordering="active")
def shown_status(flow: Flow) -> str:
    active = badge("active", gettext("active")) if flow.active else ""
    badges = [active or badge("off", gettext("inactive"))]
    if flow.paused:
        badges.append(badge("paused", gettext("paused")))
    return format_html_join(" ", "{}", ((one,) for one in badges))


@admin.display(description=_("published"), ordering="version_number", empty_value="")
def shown_version(flow: Any) -> str:
    number = flow.version_number
    text = gettext("version %(number)d") % {"number": number} if number else gettext("never")
    changes = badge("draft", gettext("unpublished changes")) if flow.has_changes else ""
    return format_html("{} {}", text, changes)


@admin.display(description=_("live runs"))
def shown_runs(flow: Any) -> str:
    runs = f"{url('flowrun_changelist')}?flow={flow.pk}&status__exact="
    counts = [(status, flow.shown_live[status]) for status in LIVE]
    links = [(f"{runs}{status}", run_badge(status), n) for status, n in counts if n]
    return format_html_join(" ", '<a href="{}">{} {}</a>', links) or "-"


@admin.display(description=_("last finished"), ordering="last_finished")
def shown_last_finished(flow: Any) -> str:
    return show_short(flow.last_finished)


def context(user: Any) -> dict[str, Any]:
    """Return what the page of the list shows beside the list."""
    may_add = may(user, ADD_FLOW)
    return {"may_add_flow": may_add, "may_import": may_add and may(user, CHANGE_FLOW)}


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of the pages about flows."""
    return patterns(model_admin, FLOW_ROUTES)


LIST = FlowList
FILTERS = (ActiveFilter, PausedFilter, ChangesFilter)
COLUMNS = (shown_name, shown_status, shown_version, shown_runs, shown_last_finished)
