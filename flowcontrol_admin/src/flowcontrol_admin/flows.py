"""The list of flows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.models import LIVE, Flow
from flowcontrol_admin.filters import ActiveFilter, ChangesFilter, PausedFilter
from flowcontrol_admin.lists import ClosedList
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


class FlowAdmin(ClosedList):
    """Flows: everything about one of them is on its own pages."""

    list_display = (
        "shown_name", "shown_status", "shown_version", "shown_runs", "shown_last_finished"
    )  # fmt: skip
    list_filter = (ActiveFilter, PausedFilter, ChangesFilter)
    search_fields = ("name", "key", "description")
    ordering = ("name", "id")
    # The name links to the editor by itself.
    list_display_links = None
    list_per_page = 100
    actions = None
    change_list_template = "flowcontrol_admin/flow/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_urls(self) -> list[Any]:
        return patterns(self, FLOW_ROUTES)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FlowList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flow]:
        return flows.with_facts(super().get_queryset(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        may_add = may(request.user, ADD_FLOW)
        may_import = may_add and may(request.user, CHANGE_FLOW)
        # Django's title is a sentence, which in German reaches below the buttons beside it.
        context = {
            "title": capfirst(str(self.opts.verbose_name_plural)),
            "may_add_flow": may_add,
            "may_import": may_import,
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, flow: Flow) -> str:
        shown = '<a href="{}">{}</a> <span class="fc-under">{}</span>'
        return format_html(shown, url("flow_editor", flow.pk), flow.name, flow.key)

    @admin.display(description=_("status"), ordering="active")
    def shown_status(self, flow: Flow) -> str:
        active = badge("active", gettext("active")) if flow.active else ""
        badges = [active or badge("off", gettext("inactive"))]
        if flow.paused:
            badges.append(badge("paused", gettext("paused")))
        return format_html_join(" ", "{}", ((one,) for one in badges))

    @admin.display(description=_("published"), ordering="version_number", empty_value="")
    def shown_version(self, flow: Any) -> str:
        number = flow.version_number
        text = gettext("version %(number)d") % {"number": number} if number else gettext("never")
        changes = badge("draft", gettext("unpublished changes")) if flow.has_changes else ""
        return format_html("{} {}", text, changes)

    @admin.display(description=_("live runs"))
    def shown_runs(self, flow: Any) -> str:
        runs = f"{url('flowrun_changelist')}?flow={flow.pk}&status__exact="
        counts = [(status, flow.shown_live[status]) for status in LIVE]
        links = [(f"{runs}{status}", run_badge(status), n) for status, n in counts if n]
        return format_html_join(" ", '<a href="{}">{} {}</a>', links) or "-"

    @admin.display(description=_("last finished"), ordering="last_finished")
    def shown_last_finished(self, flow: Any) -> str:
        return show_short(flow.last_finished)
