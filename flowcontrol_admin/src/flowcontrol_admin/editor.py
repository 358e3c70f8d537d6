"""The editor's page: the draft as a list of steps, the flow triggers, and what is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django import forms
from django.http import HttpResponse

from flowcontrol import flows
from flowcontrol.conf import get_settings
from flowcontrol.errors import DocumentError, Problem
from flowcontrol.health import is_without_worker
from flowcontrol.models import Flow, FlowTrigger, FlowVersion, Refusal
from flowcontrol.registry import registry
from flowcontrol_admin.pages import CHANGE_FLOW, Page
from flowcontrol_admin.tree import TreeBuilder, by_step
from flowcontrol_admin.triggers import may_change
from flowcontrol_core.document.tree import Document


def show_editor(page: Page, flow: Flow) -> HttpResponse:
    """Show the draft, or the published version, whose first edit opens a draft."""
    version = flows.present_version(flow)
    document, unreadable = read_version(version)
    found, inspection = flows.inspect_document(document, flow=flow)
    problems = unreadable or [*found, *flows.check_associations(flow, document)]
    waiting = flows.counts_by_step(flow)
    return page.render(
        "editor.html",
        title=flow.name,
        crumb="",
        version=version,
        revision=version.revision if version else 1,
        document=document,
        unreadable=bool(unreadable),
        changes=_changes(flow, version, document),
        lines=TreeBuilder(document, by_step(problems), waiting, inspection.configs).lines(),
        problems=problems,
        other_problems=[item for item in problems if item.step not in document.index],
        elsewhere=sum(count for step, count in waiting.items() if step not in document.index),
        editable=page.may(CHANGE_FLOW),
        may_change_triggers=may_change(page, flow),
        triggers=[_trigger_row(item) for item in flows.associations(flow)],
        media=_media() if page.may(CHANGE_FLOW) else "",
        cache_seconds=get_settings().TRIGGER_CACHE_SECONDS,
        no_worker=bool(waiting) and is_without_worker(),
    )


def read_version(version: FlowVersion | None) -> tuple[Document, list[Problem]]:
    """Return the document of a version; an empty one with the problems where it is unreadable."""
    try:
        return flows.get_document(version), []
    except DocumentError as error:
        return Document(), list(error.problems)


def _changes(flow: Flow, version: FlowVersion | None, document: Document) -> int:
    """Return how many changes of the draft are not published; none before the first time."""
    if version is None or not version.is_draft or flow.published is None:
        return 0
    published, unreadable = read_version(flow.published)
    return 0 if unreadable else len(flows.describe_diff(published, document))


def _media() -> forms.Media:
    """Return what the forms of all actions and triggers load: each may be shown on this page."""
    found = forms.Media()
    configs = [entry.action.Config for entry in registry.actions.values()]
    configs += [entry.trigger.Config for entry in registry.triggers.values()]
    for config in configs:
        # A plugin's form that fails is told of where it is opened.
        with suppress(Exception):
            found += config().media
    return found


def _trigger_row(flow_trigger: FlowTrigger) -> dict[str, Any]:
    reason: str | None = flow_trigger.refused_reason  # type: ignore[attr-defined]
    return {
        "flow_trigger": flow_trigger,
        "label": registry.trigger_label(flow_trigger.trigger),
        "missing": flow_trigger.trigger not in registry.triggers,
        "refused": Refusal(reason).label if reason in Refusal.values else "",
    }
