"""Publishing a flow, activating and pausing it, its versions and its history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.errors import EditError, Problem, PublishError
from flowcontrol.flows import JournalEntry
from flowcontrol.models import Flow, FlowEvent, FlowRun, FlowVersion
from flowcontrol.registry import registry
from flowcontrol_admin.editor import read_version
from flowcontrol_admin.pages import Page, Text, url
from flowcontrol_admin.tree import TreeBuilder
from flowcontrol_core.document.tree import Document

#: At most this many rows of the history are shown.
MOST_EVENTS = 200


def publish(page: Page, flow: Flow) -> HttpResponse:
    """Show what publishing would change and what prevents it; publish."""
    if not page.is_post:
        return _publish_page(page, flow, flows.present_problems(flow))
    try:
        version = flows.publish(flow, by=page.user, reason=page.reason, revision=page.revision)
    except PublishError as error:
        return _publish_page(page, flow, list(error.problems), status=400)
    text = gettext("Published version %(number)d: new runs start on it.")
    page.notify(text % {"number": version.number})
    if not flow.active:
        text = gettext("The flow is inactive, so nothing starts it yet. Activate it when ready.")
        page.notify(text, messages.WARNING)
    return page.redirect("flow_publish", flow.pk)


def _publish_page(
    page: Page, flow: Flow, problems: list[Problem], *, status: int = 200
) -> HttpResponse:
    document, _problems = read_version(flows.present_version(flow))
    return page.render(
        "publish.html",
        status=status,
        title=gettext("Publish “%(flow)s”") % {"flow": flow.name},
        crumb=gettext("Publish"),
        problems=_placed(problems, document),
        warnings=_placed(flows.find_warnings(document, flow=flow), document),
        difference=_difference(flows.published_version(flow), flows.present_version(flow)),
        is_unchanged=flows.is_unchanged(flow),
        live=FlowRun.objects.filter(flow=flow).live().count(),
        published=flows.published_version(flow),
        revision=flows.present_revision(flow),
    )


class PlacedProblem(NamedTuple):
    """A problem as the page shows it: the step it is about, if there is one, and its place."""

    problem: Problem
    step: str
    place: str


def _placed(problems: Iterable[Problem], document: Document) -> list[PlacedProblem]:
    """Name the places of problems as the editor names them."""
    words, shown = flows.Describer(document), []
    for problem in problems:
        prefix, _dot, trigger = problem.path.partition(".")
        place, found = problem.path, document.find(problem.step)
        if found is not None:
            field = flows.field_label(found, problem.field) if problem.field else ""
            place = ": ".join(filter(None, [words.step(found.id), field]))
        elif prefix == "triggers":
            place = gettext("Trigger “%(name)s”") % {"name": registry.trigger_label(trigger)}
        shown.append(PlacedProblem(problem, found.id if found else "", place))
    return shown


def _switch(change: Callable[..., Any], text: Text, page: Page, flow: Flow) -> HttpResponse:
    """Make a change to the flow as a whole, and tell what follows from it."""
    change(flow, by=page.user, reason=page.reason)
    page.notify(text)
    return page.redirect("flow_editor", flow.pk)


activate = partial(_switch, flows.activate, _("The flow is active: it starts runs."))
deactivate = partial(
    _switch,
    flows.deactivate,
    _("The flow is inactive: it starts no new runs; unfinished runs continue."),
)
pause = partial(_switch, flows.pause, _("The flow is paused: runs that become due are paused."))


def resume(page: Page, flow: Flow) -> HttpResponse:
    """Resume the flow, and the runs that were paused with it."""
    count = flows.resume(flow, by=page.user, reason=page.reason)
    text = ngettext(
        "The flow was resumed; %(count)d run continues.",
        "The flow was resumed; %(count)d runs continue.",
        count,
    )
    page.notify(text % {"count": count})
    return page.redirect("flow_editor", flow.pk)


def show_versions(page: Page, flow: Flow) -> HttpResponse:
    """Show all versions of a flow, and how many runs are on them."""
    return page.render(
        "versions.html",
        title=gettext("Versions of “%(flow)s”") % {"flow": flow.name},
        crumb=gettext("Versions"),
        versions=flows.versions_with_runs(flow),
        revision=flows.present_revision(flow),
    )


def show_version(page: Page, flow: Flow, number: int) -> HttpResponse:
    """Show one version, and how another one, or the present document, differs from it."""
    version = get_object_or_404(FlowVersion, flow=flow, number=number)
    document, problems = read_version(version)
    others = FlowVersion.objects.filter(flow=flow).exclude(pk=version.pk).order_by("-number")
    numbers = [*others.values_list("number", flat=True)]
    wanted = page.request.GET.get("with", "")
    other = next((each for each in numbers if str(each) == wanted), None)
    present = flows.present_version(flow)
    compared = present if other is None else others.get(number=other)
    return page.render(
        "version.html",
        title=str(version),
        parents=[(gettext("Versions"), url("flow_versions", flow.pk))],
        crumb=f"v{number}",
        version=version,
        document=document,
        problems=problems,
        lines=TreeBuilder(document).lines(),
        difference=_difference(version, compared),
        compared=compared,
        numbers=numbers,
        revision=flows.present_revision(flow),
    )


def restore(page: Page, flow: Flow, number: int) -> HttpResponse:
    """Make an older version's document the draft."""
    version = get_object_or_404(FlowVersion, flow=flow, number=number)
    flows.restore_version(flow, version, revision=page.revision, author=page.user)
    page.notify(gettext("The draft was restored from version %(number)d.") % {"number": number})
    return page.redirect("flow_editor", flow.pk)


def discard(page: Page, flow: Flow) -> HttpResponse:
    """Discard the draft, after showing what is removed."""
    if page.is_post:
        flows.discard_draft(flow, revision=page.revision, author=page.user)
        page.notify(gettext("The draft was discarded. This is the published version."))
        return page.redirect("flow_editor", flow.pk)
    draft = FlowVersion.objects.filter(draft_of=flow).first()
    if draft is None or flows.published_version(flow) is None:
        raise EditError(gettext("The flow has no draft to discard, or no published version."))
    return page.render(
        "discard.html",
        title=gettext("Discard the draft?"),
        crumb=gettext("Discard the draft"),
        difference=_difference(flows.published_version(flow), draft),
        submit=gettext("Discard the draft"),
        revision=draft.revision,
    )


def _difference(old: FlowVersion | None, new: FlowVersion | None) -> list[Any]:
    """Return what changed from one version to another; nothing where either cannot be read."""
    (before, unreadable), (after, as_well) = read_version(old), read_version(new)
    return [] if unreadable or as_well else flows.describe_diff(before, after)


class Change(NamedTuple):
    """One row of the history of a flow."""

    at: datetime
    actor: str
    what: str
    message: str


def show_history(page: Page, flow: Flow) -> HttpResponse:
    """Show who did what to a flow and to its draft, and why: in the admin and from elsewhere."""
    events = FlowEvent.objects.filter(key=flow.key).order_by("-pk")[:MOST_EVENTS]
    rows = [
        Change(event.at, event.actor, event.get_operation_display(), event.message)
        for event in events
    ]
    logged = LogEntry.objects.filter(
        content_type=get_content_type_for_model(flow), object_id=str(flow.pk)
    )
    rows += [
        Change(entry.action_time, str(entry.user), entry.get_change_message(), "")
        for entry in logged.select_related("user").order_by("-action_time")[:MOST_EVENTS]
    ]
    rows += [Change(edit.at, edit.author, _edited(edit), _told(edit)) for edit in flows.edits(flow)]
    return page.render(
        "flow_history.html",
        title=gettext("History of “%(flow)s”") % {"flow": flow.name},
        crumb=pgettext("of a flow", "History"),
        rows=sorted(rows, key=lambda row: row.at, reverse=True)[:MOST_EVENTS],
    )


def _edited(edit: JournalEntry) -> str:
    return gettext("Edited the draft of version %(number)d") % {"number": edit.number}


def _told(edit: JournalEntry) -> str:
    undone = gettext("(Undone later.)") if edit.is_undone else ""
    return f"{edit.text} {undone}".strip()
