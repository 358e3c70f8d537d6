"""The list of flows, adding, changing and deleting one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from flowcontrol_admin.badges import flag, run_badge
from flowcontrol_admin.flow_forms import ChangeFlowForm, FlowForm
from flowcontrol_admin.flow_history import history_of
from flowcontrol_admin.flow_routes import ROUTES
from flowcontrol_admin.pages import (
    ADD_FLOW,
    CHANGE_FLOW,
    DELETE_FLOW,
    READING,
    VIEW_FLOW,
    Page,
    Route,
    patterns,
    url,
)
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, EditError
from flowcontrol_core.flows.drafts import atomic, present_document, present_revision
from flowcontrol_core.flows.edits import set_options
from flowcontrol_core.flows.lifecycle import change_flow, create_flow, delete_flow
from flowcontrol_core.flows.overview import count_name, with_facts
from flowcontrol_core.models import LIVE, Flow, FlowRun

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Flow]
else:
    _ModelAdmin = admin.ModelAdmin

POST = (*READING, "POST")


class ChangesFilter(admin.SimpleListFilter):
    """Flows that have something to publish."""

    title = _("unpublished changes")
    parameter_name = "changes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(has_changes=self.value() == "yes")
        return queryset


class FlowAdmin(_ModelAdmin):
    """Flows: everything about one of them is on its own pages."""

    list_display = (
        "shown_name", "key", "shown_active", "shown_version", "shown_changes", "shown_runs",
        "shown_last_run",
    )  # fmt: skip
    list_filter = ("active", "paused", ChangesFilter)
    search_fields = ("name", "key", "description")
    ordering = ("name", "id")
    # The name links to the editor by itself.
    list_display_links = None
    list_per_page = 100
    show_full_result_count = False
    actions = None
    change_list_template = "flowcontrol_admin/flow/change_list.html"

    class Media:
        css = {"all": ["flowcontrol_admin/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flow]:
        return with_facts(super().get_queryset(request))

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, flow: Flow) -> str:
        return format_html('<a href="{}">{}</a>', url("flow_editor", flow.pk), flow.name)

    @admin.display(description=_("status"), ordering="active")
    def shown_active(self, flow: Flow) -> str:
        badges = [flag("active", say("active")) if flow.active else flag("off", say("inactive"))]
        if flow.paused:
            badges.append(flag("paused", say("on hold")))
        return format_html_join(" ", "{}", ((badge,) for badge in badges))

    @admin.display(description=_("published"), ordering="version_number", empty_value="")
    def shown_version(self, flow: Flow) -> str:
        number: int | None = flow.version_number  # type: ignore[attr-defined]
        return say("version %(number)d") % {"number": number} if number else say("never")

    @admin.display(description=_("draft"), ordering="has_changes")
    def shown_changes(self, flow: Flow) -> str:
        changed: bool = flow.has_changes  # type: ignore[attr-defined]
        return flag("draft", say("unpublished changes")) if changed else "-"

    @admin.display(description=_("live runs"))
    def shown_runs(self, flow: Flow) -> str:
        counts = [(status, getattr(flow, count_name(status))) for status in LIVE]
        found = [
            (f"{url('flowrun_changelist')}?flow={flow.pk}&status={status}", run_badge(status), n)
            for status, n in counts
            if n
        ]
        return format_html_join(" ", '<a href="{}">{} {}</a>', found) if found else "-"

    @admin.display(description=_("last run"), ordering="last_run", empty_value="-")
    def shown_last_run(self, flow: Flow) -> Any:
        return flow.last_run  # type: ignore[attr-defined]

    def get_urls(self) -> list[Any]:
        return patterns(self, [*_OWN, *ROUTES])


def show_list(page: Page) -> HttpResponseBase:
    """The list of flows."""
    context = {
        "may_add_flow": page.may(ADD_FLOW),
        "may_import": page.may(ADD_FLOW) and page.may(CHANGE_FLOW),
    }
    return page.admin.changelist_view(page.request, context)


def show_history(page: Page, flow: Flow) -> HttpResponse:
    """Who did what to a flow, and why: in the admin, from the command line and from code."""
    return page.render(
        "flow_history.html",
        title=say("History of “%(flow)s”") % {"flow": flow.name},
        flow=flow,
        tab="history",
        rows=history_of(flow),
        crumbs=[(say("History"), "")],
    )


def add_flow(page: Page) -> HttpResponse:
    """A new flow; then on to its editor."""
    form = FlowForm(page.request.POST or None)
    if page.is_post and form.is_valid():
        options = form.options()
        try:
            flow = create_flow(
                key=form.cleaned_data["key"],
                author=page.user,
                document=Document(**options),
                **form.columns(),
            )
        except DocumentError as error:
            form.add_problems(error.problems)
        else:
            page.admin.log_addition(page.request, flow, say("Added."))
            page.say(say("The flow was added. It is inactive, and has no steps yet."))
            return page.redirect("flow_editor", flow.pk)
    return page.render(
        "flow_form.html",
        title=say("Add flow"),
        form=form,
        crumbs=[(say("Add"), "")],
        submit=say("Save and go to the editor"),
        back=url("flow_changelist"),
    )


def change(page: Page, flow: Flow) -> HttpResponse:
    """The name, limits and options of a flow; for those who may not change, to read only."""
    form = ChangeFlowForm(
        page.request.POST or None,
        instance=flow,
        document=present_document(flow),
        revision=present_revision(flow),
    )
    if not page.may(CHANGE_FLOW):
        for field in form.fields.values():
            field.disabled = True
    if page.is_post and form.is_valid() and _save(page, flow, form):
        page.log(flow, say("Changed the settings."))
        page.say(say("Saved the settings of the flow."))
        return page.redirect("flow_editor", flow.pk)
    return page.render(
        "flow_form.html",
        title=say("Settings of “%(flow)s”") % {"flow": flow.name},
        form=form,
        flow=flow,
        tab="settings",
        crumbs=[(say("Settings"), "")],
        submit=say("Save") if page.may(CHANGE_FLOW) else "",
        back=url("flow_editor", flow.pk),
    )


def _save(page: Page, flow: Flow, form: ChangeFlowForm) -> bool:
    """Save all of it or nothing; say whether it was saved."""
    try:
        with atomic():
            revision = form.cleaned_data["revision"]
            set_options(flow, **form.options(), revision=revision, author=page.user)
            change_flow(flow, by=page.user, **form.columns())
    except DocumentError as error:
        form.add_problems(error.problems)
    except EditError as error:
        form.add_error(None, str(error))
    else:
        return True
    return False


def delete(page: Page, flow: Flow) -> HttpResponse:
    """Delete a flow, after saying what goes with it."""
    runs = FlowRun.objects.filter(flow=flow)
    live, done = runs.live().count(), runs.count()
    if page.is_post:
        try:
            name, count = str(flow), delete_flow(flow, by=page.user, reason=page.reason)
        except EditError as error:
            return page.problem(error, status=409)
        text = ngettext(
            "Deleted the flow “%(flow)s” and %(count)d run.",
            "Deleted the flow “%(flow)s” and %(count)d runs.",
            count,
        )
        page.say(text % {"flow": name, "count": count}, messages.SUCCESS)
        return page.redirect("flow_changelist")
    return page.render(
        "flow_delete.html",
        title=say("Delete “%(flow)s”?") % {"flow": flow.name},
        flow=flow,
        live=live,
        done=done - live,
        versions=flow.versions.count(),
        triggers=flow.flow_triggers.count(),
        crumbs=[(say("Delete"), "")],
        back=url("flow_editor", flow.pk),
    )


_OWN = [
    Route(path="", name="flow_changelist", view=show_list, needs=(VIEW_FLOW,)),
    Route(path="add/", name="flow_add", view=add_flow, needs=(ADD_FLOW,), methods=POST),
    Route(
        path="<int:pk>/change/",
        name="flow_change",
        view=change,
        needs=(VIEW_FLOW,),
        writes=(CHANGE_FLOW,),
        methods=POST,
    ),
    Route(
        path="<int:pk>/delete/",
        name="flow_delete",
        view=delete,
        needs=(VIEW_FLOW, DELETE_FLOW),
        methods=POST,
    ),
    Route(path="<int:pk>/history/", name="flow_history", view=show_history, needs=(VIEW_FLOW,)),
]
