"""The page of one run: what it is doing and why, what can be done, what has happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db import router
from django.db.models import OuterRef, Subquery
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language

from flowcontrol import flows
from flowcontrol.clock import clock
from flowcontrol.health import is_overdue, is_without_worker
from flowcontrol.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol.redaction import HIDDEN
from flowcontrol.registry import registry
from flowcontrol_admin import run_texts
from flowcontrol_admin.diagram import draw
from flowcontrol_admin.diagram.overlay import RUN_MARKS
from flowcontrol_admin.fields import find_object
from flowcontrol_admin.objects import CANNOT_BE_ASKED
from flowcontrol_admin.operator_actions import possible_actions
from flowcontrol_admin.pages import HEADER, Page, url
from flowcontrol_admin.run_diagram import MOST_READ, overlay_of
from flowcontrol_admin.run_head import HeadMaker
from flowcontrol_admin.run_state import values_of
from flowcontrol_admin.run_track import Child, Track
from flowcontrol_admin.timeline import pretty, timeline
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.document_checks import find_model

EVENTS_A_PAGE = 100
MOST_CHILDREN = 50
#: How old the relative times on a page may become, in seconds.
_AGE = 60
#: The columns of the engine, shown as they are, folded away.
RAW = (
    "uuid", "cursor", "sequence", "fence", "attempt", "worker", "request", "due_at",
    "wait_until", "wait_timeout", "wait_trigger", "wait_match_object", "wait_child",
    "events_taken", "blocked_on", "queued_at", "undelivered_since", "depth", "slot", "slot_object",
    "slot_ever",
)  # fmt: skip


def show_run(page: Page, run: FlowRun) -> HttpResponse:
    """Show everything about one run, with what has happened as a track."""
    return _show(page, run, "timeline")


def show_diagram(page: Page, run: FlowRun) -> HttpResponse:
    """Show everything about one run, with where it has been as a diagram."""
    return _show(page, run, "diagram")


def _show(page: Page, run: FlowRun, tab: str) -> HttpResponse:
    """Answer a page, or only what of it changes; nothing where it has not changed."""
    now = clock().now()
    tag = _tag(page, run, now)
    if page.is_poll and page.request.headers.get("If-None-Match", "").removeprefix("W/") == tag:
        response = HttpResponse(status=304)
    elif page.is_poll:
        response = page.part("run_live.html", **_context(page, run, tab, now))
    else:
        title = f"{run.flow.name} #{run.pk}"
        context = _context(page, run, tab, now)
        response = page.render("run.html", title=title, crumb="", live_tag=tag, **context)
    response["ETag"] = tag
    response["Cache-Control"] = "no-cache, private"
    patch_vary_headers(response, [HEADER, "Cookie"])
    return response


def _tag(page: Page, run: FlowRun, now: datetime) -> str:
    """Return what tells whether a page has changed, found with one query."""
    events = RunEvent.objects.filter(run=OuterRef("pk")).order_by("-pk")
    children = FlowRun.objects.filter(parent=OuterRef("pk")).order_by("-since")
    found = (
        FlowRun.objects.filter(pk=run.pk)
        .annotate(event=Subquery(events.values("pk")[:1]))
        .annotate(child=Subquery(children.values("since")[:1]))
        .values_list("event", "child")
    )
    row = (
        run.status, run.outcome, run.since, run.fence, run.sequence, run.attempt, run.due_at,
        run.request, run.version_id, run.cursor,
    )  # fmt: skip
    # Relative times grow old, and an overdue run changes nothing.
    age = int(now.timestamp()) // _AGE
    reader = (page.user.pk, get_language(), page.name, page.request.GET.urlencode())
    digest = hashlib.sha256(repr((row, list(found), age, reader)).encode()).hexdigest()
    return f'"{digest[:32]}"'


def _context(page: Page, run: FlowRun, tab: str, now: datetime) -> dict[str, Any]:
    documents = flows.documents_of([run])
    document = documents.get(run.version_id) or Document()
    is_visible = run.pk in page.objects.visible([run])
    late = is_overdue(run, now)
    actions = possible_actions(page, run) if is_visible else []
    head = HeadMaker(
        run=run,
        document=document,
        now=now,
        step=flows.find_step(run, documents),
        failed=_last_error(run) if is_visible else None,
        actions=actions,
        may_count=not run.object_type or page.objects.may_search(run.object_type),
    ).head(is_visible=is_visible)
    children = _children(page, run)
    return {
        "run": run,
        "now": now,
        "tab": tab,
        "head": head,
        "overdue": run_texts.since_overdue(run, now) if late else "",
        "no_worker": late and is_without_worker(),
        "duration": run_texts.duration(run, now),
        "actions": actions,
        "is_object_hidden": not is_visible,
        "trigger": registry.trigger_label(run.trigger),
        "children": children,
        "has_more_children": len(children) == MOST_CHILDREN,
        "successors": run.successors.order_by("pk")[:MOST_CHILDREN],
        "waits_for_run": _waited(run, children),
        **_about_object(page, run),
        **(_inside(page, run, document, tab, children, now) if is_visible else {}),
    }


def _inside(
    page: Page,
    run: FlowRun,
    document: Document,
    tab: str,
    children: list[Child],
    now: datetime,
) -> dict[str, Any]:
    """Return what only those see who may view the object of the run."""
    events = _events(page, run)
    rows = timeline(events.object_list, document)
    shown: dict[str, Any] = {
        "events": events,
        "state": values_of(run.state, rows, {str(one.run.uuid): str(one.run) for one in children}),
        "payload": values_of(run.payload) if run.payload else [],
        "raw": [(name, _raw(getattr(run, name))) for name in RAW],
    }
    if tab == "diagram":
        entries = [*_newest_steps(run)]
        overlay = overlay_of(run, document, entries)
        is_cut = len(entries) == MOST_READ
        drawn = draw(document, overlay=overlay, link=_row_link(run, overlay.marks))
        return shown | {"diagram": drawn, "marks": RUN_MARKS.items(), "is_cut": is_cut}
    track = Track(
        run=run,
        document=document,
        now=now,
        present=_present(run),
        children={str(child.run.uuid): child for child in children},
        is_first_page=not events.has_previous(),
        is_last_page=not events.has_next(),
    )
    return shown | {"lines": track.lines(rows)}


def _present(run: FlowRun) -> str:
    """Return the step that the run is at, or that it failed at."""
    is_at_step = run.is_live or run.outcome == Outcome.ERRORED
    return flows.step_of(run) if is_at_step else ""


def _row_link(run: FlowRun, reached: Container[str]) -> Callable[[str], str]:
    """Return what leads from a step of the diagram to its row."""

    def link(step: str) -> str:
        return url("flowrun_change", run.pk, anchor=f"{step}-1") if step in reached else ""

    return link


def _events(page: Page, run: FlowRun) -> Any:
    """Return one page of the history, by default the newest one."""
    events = RunEvent.objects.filter(run=run).order_by("pk")
    paginator = Paginator(events, EVENTS_A_PAGE)
    return paginator.get_page(page.request.GET.get("page", paginator.num_pages))


def _newest_steps(run: FlowRun) -> Iterable[Any]:
    newest = RunEvent.objects.filter(run=run).order_by("-pk")
    return reversed(newest.values_list("steps", flat=True)[:MOST_READ])


def _last_error(run: FlowRun) -> RunEvent | None:
    if run.outcome != Outcome.ERRORED and run.status != Status.WAITING:
        return None
    failures = RunEvent.objects.filter(run=run, error__isnull=False)
    return failures.order_by("-pk").first()


def _children(page: Page, run: FlowRun) -> list[Child]:
    """Return the runs that a run started, with the texts of the objects that may be viewed."""
    rows = run.children.order_by("pk").defer("state", "payload", "events_taken")
    found = list(rows.prefetch_related("flow")[:MOST_CHILDREN])
    visible = page.objects.visible(found)
    return [Child(one, one.object_text if one.pk in visible else HIDDEN) for one in found]


def _about_object(page: Page, run: FlowRun) -> dict[str, Any]:
    """Return the type and the address of a run's object, and whether it no longer exists."""
    label, key, database = run.object_type, run.object_key, run.object_database
    model = find_model(label)
    # The admin of a model shows what a router reads: another object, where that is elsewhere.
    is_there = model is not None and database in ("", router.db_for_write(model))
    try:
        obj = find_object(model, key, database) if model and key is not None else None
        gone = key is not None and obj is None
    except CANNOT_BE_ASKED:
        # Its database cannot be asked now.
        obj, gone = None, False
    link = page.link_to(model, "change", key, obj=obj) if model and is_there and obj else ""
    return {
        "object_type": model._meta.verbose_name if model else label,
        "object_database": "" if is_there else database,
        "object_gone": gone,
        "object_link": link,
    }


def _waited(run: FlowRun, children: Iterable[Child]) -> FlowRun | None:
    """Return the run that a run waits for, where it is none of those it started."""
    if run.wait_child is None or any(child.run.uuid == run.wait_child for child in children):
        return None
    return FlowRun.objects.filter(uuid=run.wait_child).select_related("flow").first()


def _raw(value: Any) -> str:
    return pretty(value) if isinstance(value, dict | list) else "-" if value is None else str(value)
