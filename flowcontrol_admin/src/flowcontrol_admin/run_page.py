"""The page of one run: what it is doing and why, what can be done, what has happened."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db import InterfaceError, OperationalError, router
from django.http import HttpResponse
from django.utils.connection import ConnectionDoesNotExist

from flowcontrol import flows
from flowcontrol.clock import clock
from flowcontrol.health import is_overdue, is_without_worker
from flowcontrol.models import FlowRun, Outcome, RunEvent
from flowcontrol.redaction import redact_json
from flowcontrol.registry import registry
from flowcontrol_admin import run_texts
from flowcontrol_admin.fields import find_object
from flowcontrol_admin.operator_actions import possible_actions
from flowcontrol_admin.pages import Page
from flowcontrol_admin.timeline import pretty, timeline
from flowcontrol_core.flows.descriptions import listed_value
from flowcontrol_core.flows.document_checks import find_model

EVENTS_A_PAGE = 100
MOST_CHILDREN = 50
#: The columns of the engine, shown as they are, folded away.
RAW = (
    "uuid", "cursor", "sequence", "fence", "attempt", "worker", "request", "due_at",
    "wait_until", "wait_timeout", "wait_trigger", "wait_match_object", "wait_child",
    "events_taken", "blocked_on", "queued_at", "undelivered_since", "depth", "slot", "slot_object",
    "slot_ever",
)  # fmt: skip


def show_run(page: Page, run: FlowRun) -> HttpResponse:
    """Show everything about one run."""
    documents = flows.documents_of([run])
    now = clock().now()
    late = is_overdue(run, now)
    events = _events(page, run)
    children = run.children.order_by("pk")
    is_visible = run.pk in page.objects.visible([run])
    return page.render(
        "run.html",
        title=str(run),
        crumb="",
        headline=run_texts.headline(run, flows.find_step(run, documents)),
        next_lines=run_texts.what_next(run),
        overdue=run_texts.since_overdue(run, now) if late else "",
        no_worker=late and is_without_worker(),
        duration=run_texts.duration(run, now),
        actions=possible_actions(page, run) if is_visible else [],
        is_object_hidden=not is_visible,
        events=events,
        timeline=timeline(events.object_list, documents.get(run.version_id)),
        last_error=_last_error(run),
        state=listed_value(redact_json(run.state)),
        payload=listed_value(redact_json(run.payload)),
        trigger=registry.trigger_label(run.trigger),
        children=children[:MOST_CHILDREN],
        child_count=children.count(),
        successors=run.successors.order_by("pk")[:MOST_CHILDREN],
        waits_for_run=_waited(run),
        raw=[(name, _raw(getattr(run, name))) for name in RAW],
        **_about_object(page, run),
    )


def _events(page: Page, run: FlowRun) -> Any:
    """Return one page of the history, by default the newest one."""
    events = RunEvent.objects.filter(run=run).order_by("pk")
    paginator = Paginator(events, EVENTS_A_PAGE)
    return paginator.get_page(page.request.GET.get("page", paginator.num_pages))


def _last_error(run: FlowRun) -> RunEvent | None:
    if run.outcome != Outcome.ERRORED:
        return None
    failures = RunEvent.objects.filter(run=run, error__isnull=False)
    return failures.order_by("-pk").first()


def _about_object(page: Page, run: FlowRun) -> dict[str, Any]:
    """Return the type and the address of a run's object, and whether it no longer exists."""
    label, key, database = run.object_type, run.object_key, run.object_database
    model = find_model(label)
    # The admin of a model shows what a router reads: another object, where that is elsewhere.
    is_there = model is not None and database in ("", router.db_for_write(model))
    try:
        obj = find_object(model, key, database) if model and key is not None else None
        gone = key is not None and obj is None
    except (ConnectionDoesNotExist, OperationalError, InterfaceError):
        # Its database cannot be asked now.
        obj, gone = None, False
    link = page.link_to(model, "change", key, obj=obj) if model and is_there and obj else ""
    return {
        "object_type": model._meta.verbose_name if model else label,
        "object_database": "" if is_there else database,
        "object_gone": gone,
        "object_link": link,
    }


def _waited(run: FlowRun) -> FlowRun | None:
    if run.wait_child is None:
        return None
    return FlowRun.objects.filter(uuid=run.wait_child).select_related("flow").first()


def _raw(value: Any) -> str:
    return pretty(value) if isinstance(value, dict | list) else "-" if value is None else str(value)
