"""Publishing a flow, switching it on and off, and its older versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as say
from django.utils.translation import ngettext

from flowcontrol import flows
from flowcontrol_admin.editor import read_version
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.steps import read_revision
from flowcontrol_admin.tree import TreeBuilder
from flowcontrol_core.document.diff import diff
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import EditError, Problem, PublishError
from flowcontrol_core.flows.descriptions import describe_diff
from flowcontrol_core.flows.overview import versions_with_runs
from flowcontrol_core.models import Flow, FlowRun, FlowVersion


def publish(page: Page, flow: Flow) -> HttpResponse:
    """What publishing would change and what stands in its way; and publishing."""
    if not page.is_post:
        return _publish_page(page, flow, flows.present_problems(flow))
    try:
        version = flows.publish(
            flow, by=page.user, reason=page.reason, revision=read_revision(page)
        )
    except PublishError as error:
        return _publish_page(page, flow, list(error.problems), status=400)
    text = say("Published version %(number)d: new runs start on it.") % {"number": version.number}
    page.say(text)
    if not flow.active:
        page.say(
            say("The flow is inactive, so nothing starts it yet. Activate it when it should."),
            messages.WARNING,
        )
    return page.redirect("flow_publish", flow.pk)


def activate(page: Page, flow: Flow) -> HttpResponse:
    """Let the flow start runs."""
    return _switch(page, flow, flows.activate, say("The flow is active: it starts runs."))


def deactivate(page: Page, flow: Flow) -> HttpResponse:
    """Start no further runs."""
    text = say("The flow is inactive: it starts no further runs; those in flight go on.")
    return _switch(page, flow, flows.deactivate, text)


def pause(page: Page, flow: Flow) -> HttpResponse:
    """Pause what becomes due."""
    text = say("The flow is on hold: runs that become due are paused.")
    return _switch(page, flow, flows.pause, text)


def resume(page: Page, flow: Flow) -> HttpResponse:
    """End the hold, and wake what it has paused."""
    who: dict[str, Any] = {"by": page.user, "reason": page.reason}
    count = flows.resume(flow, **who)
    text = ngettext(
        "The hold has ended; %(count)d run goes on.",
        "The hold has ended; %(count)d runs go on.",
        count,
    )
    page.say(text % {"count": count})
    return page.redirect("flow_editor", flow.pk)


def show_versions(page: Page, flow: Flow) -> HttpResponse:
    """All versions of a flow, and the runs on them."""
    return page.render(
        "versions.html",
        title=say("Versions of “%(flow)s”") % {"flow": flow.name},
        flow=flow,
        tab="versions",
        versions=versions_with_runs(flow),
        revision=flows.present_revision(flow),
        crumbs=[(say("Versions"), "")],
    )


def show_version(page: Page, flow: Flow, number: int) -> HttpResponse:
    """One version, and how it differs from what is being edited."""
    version = get_object_or_404(FlowVersion, flow=flow, number=number)
    document, problems = read_version(version)
    present, _ = read_version(flows.present_version(flow))
    return page.render(
        "version.html",
        title=str(version),
        flow=flow,
        tab="versions",
        version=version,
        document=document,
        problems=problems,
        lines=TreeBuilder(document).lines(),
        difference=describe_diff(diff(document, present), document, present),
        revision=flows.present_revision(flow),
        crumbs=[(say("Versions"), url("flow_versions", flow.pk)), (f"v{number}", "")],
    )


def restore(page: Page, flow: Flow, number: int) -> HttpResponse:
    """Make an older version's document the draft."""
    version = get_object_or_404(FlowVersion, flow=flow, number=number)
    revision = read_revision(page)
    flows.restore_version(flow, version, revision=revision, author=page.user)
    page.say(say("The draft is now as version %(number)d was.") % {"number": number})
    return page.redirect("flow_editor", flow.pk)


def discard(page: Page, flow: Flow) -> HttpResponse:
    """Throw the draft away, after showing what is lost."""
    if page.is_post:
        flows.discard_draft(flow, revision=read_revision(page))
        page.say(say("The draft was discarded; this is the published version."))
        return page.redirect("flow_editor", flow.pk)
    draft = FlowVersion.objects.filter(draft_of=flow).first()
    if draft is None or flows.published_version(flow) is None:
        raise EditError(say("There is no draft that could be discarded in favour of a version."))
    return page.render(
        "discard.html",
        title=say("Discard the draft?"),
        flow=flow,
        difference=_difference(flow),
        revision=draft.revision,
        crumbs=[(say("Discard the draft"), "")],
        back=url("flow_editor", flow.pk),
    )


def _switch(page: Page, flow: Flow, verb: Callable[..., Flow], text: str) -> HttpResponse:
    verb(flow, by=page.user, reason=page.reason)
    page.say(text)
    return page.redirect("flow_editor", flow.pk)


def _publish_page(
    page: Page, flow: Flow, problems: list[Problem], *, status: int = 200
) -> HttpResponse:
    document, unreadable = read_version(flows.present_version(flow))
    known = set(document.step_ids())
    return page.render(
        "publish.html",
        status=status,
        title=say("Publish “%(flow)s”") % {"flow": flow.name},
        flow=flow,
        tab="publish",
        problems=[(item, item.step in known) for item in problems],
        difference=[] if unreadable else _difference(flow),
        is_unchanged=flows.is_unchanged(flow),
        live=FlowRun.objects.filter(flow=flow).live().count(),
        published=flows.published_version(flow),
        revision=flows.present_revision(flow),
        crumbs=[(say("Publish"), "")],
    )


def _difference(flow: Flow) -> list[Any]:
    published = flows.published_version(flow)
    old = flows.get_document(published) if published else Document()
    new = flows.present_document(flow)
    return describe_diff(flows.diff_with_published(flow), old, new)
