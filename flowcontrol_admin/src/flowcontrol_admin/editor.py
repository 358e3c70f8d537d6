"""The editor's page: the draft as a list of steps, the flow triggers, and what is wrong."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as say

from flowcontrol_admin.pages import CHANGE_FLOW, Page
from flowcontrol_admin.tree import TreeBuilder, by_step
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.conf import get_settings
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, FlowcontrolError, Problem
from flowcontrol_core.flows.document_checks import check_document
from flowcontrol_core.flows.drafts import get_document, present_version
from flowcontrol_core.flows.flow_triggers import check_associations
from flowcontrol_core.flows.overview import associations, counts_by_step
from flowcontrol_core.health import is_nobody_sweeping
from flowcontrol_core.models import Flow, FlowTrigger, FlowVersion, Refusal


def show_editor(page: Page, flow: Flow) -> HttpResponse:
    """What is being edited: the draft, or the published version, whose first edit opens one."""
    version = present_version(flow)
    document, problems = read_version(version)
    if not problems:
        problems = check_document(document, flow=flow) + check_associations(flow, document)
    sorted_problems = by_step(problems)
    known = set(document.step_ids())
    waiting = counts_by_step(flow)
    builder = TreeBuilder(document, sorted_problems, waiting)
    return page.render(
        "editor.html",
        title=flow.name,
        flow=flow,
        tab="editor",
        version=version,
        revision=version.revision if version else 1,
        document=document,
        lines=builder.lines(),
        problems=problems,
        other_problems=[item for item in problems if item.step not in known],
        elsewhere=sum(count for step, count in waiting.items() if step not in known),
        editable=page.may(CHANGE_FLOW),
        triggers=[_trigger_row(item) for item in associations(flow)],
        cache_seconds=get_settings().TRIGGER_CACHE_SECONDS,
        nobody_sweeps=bool(waiting) and is_nobody_sweeping(),
    )


def read_version(version: FlowVersion | None) -> tuple[Document, list[Problem]]:
    """A document that cannot be read is shown as such; the flow can still be switched off."""
    if version is None:
        return Document(), []
    try:
        return get_document(version), []
    except DocumentError as error:
        return Document(), list(error.problems)
    except FlowcontrolError as error:
        return Document(), [Problem("", str(error))]


def _trigger_row(association: FlowTrigger) -> dict[str, Any]:
    entry = registry.triggers.get(association.trigger)
    return {
        "association": association,
        "label": str(entry.trigger.label) if entry else association.trigger,
        "missing": "" if entry else say("Its plugin is not installed."),
        "refused": _refusal(association),
    }


def _refusal(association: FlowTrigger) -> str:
    reason: str | None = association.refused_reason  # type: ignore[attr-defined]
    return str(Refusal(reason).label) if reason in Refusal.values else ""
