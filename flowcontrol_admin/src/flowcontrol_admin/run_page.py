"""The page of one run: what it is doing and why, what can be done, what has happened."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as say

from flowcontrol_admin import run_words
from flowcontrol_admin.badges import run_badge
from flowcontrol_admin.pages import OPERATE_RUN, Page
from flowcontrol_admin.run_actions import legal_verbs
from flowcontrol_admin.timeline import entries, pretty
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.flows.overview import documents_of, find_step
from flowcontrol_core.health import is_nobody_sweeping, is_overdue
from flowcontrol_core.models import FlowRun, RunEvent
from flowcontrol_core.runs.store.clock import clock

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
    """Everything about one run."""
    documents = documents_of([run])
    step = find_step(run, documents)
    now = clock().now()
    late = is_overdue(run, now)
    shown = _events(page, run)
    last_error = _last_error(run)
    kind = _type(run)
    gone = _is_gone(run, kind)
    return page.render(
        "run.html",
        title=str(run),
        run=run,
        badge=run_badge(run.status, run.outcome),
        headline=run_words.headline(run, step),
        next_lines=run_words.what_next(run),
        overdue=run_words.since_overdue(run, now) if late else "",
        nobody_sweeps=late and is_nobody_sweeping(),
        duration=run_words.duration(run, now),
        verbs=legal_verbs(run) if page.may(OPERATE_RUN) else [],
        events=shown,
        timeline=entries(shown.object_list, documents.get(run.version_id)),
        last_error=entries([last_error], None)[0] if last_error else None,
        state=pretty(run.state),
        payload=pretty(run.payload),
        trigger=_trigger_label(run),
        object_link="" if gone else _object_link(page, run, kind),
        object_type=_object_type(run, kind),
        object_gone=gone,
        children=run.children.order_by("pk")[:MOST_CHILDREN],
        successors=run.successors.order_by("pk")[:MOST_CHILDREN],
        child_count=run.children.count(),
        waits_for_run=_waited(run),
        raw=[(name, _raw(getattr(run, name))) for name in RAW],
    )


def _events(page: Page, run: FlowRun) -> Any:
    """Give one page of the history, the newest one by default."""
    events = RunEvent.objects.filter(run=run).order_by("pk")
    paginator = Paginator(events, EVENTS_A_PAGE)
    return paginator.get_page(page.request.GET.get("page", paginator.num_pages))


def _last_error(run: FlowRun) -> RunEvent | None:
    if run.outcome != "errored":
        return None
    failures = RunEvent.objects.filter(run=run, error__isnull=False)
    return failures.order_by("-pk").first()


def _trigger_label(run: FlowRun) -> str:
    entry = registry.triggers.get(run.trigger)
    return str(entry.trigger.label) if entry else run.trigger


def _type(run: FlowRun) -> ContentType | None:
    """Give the content type, unless it is stale."""
    if run.content_type_id is None:
        return None
    return ContentType.objects.filter(pk=run.content_type_id).first()


def _is_gone(run: FlowRun, found: ContentType | None) -> bool:
    """Say whether the object of a run was deleted, or its model is not there any more."""
    if run.object_key is None:
        return False
    model = found.model_class() if found else None
    try:
        return model is None or not model._base_manager.filter(pk=run.object_key).exists()
    except (ValidationError, ValueError):
        return True


def _object_type(run: FlowRun, found: ContentType | None) -> str:
    return str(found.name) if found else say("unknown type") if run.content_type_id else ""


def _object_link(page: Page, run: FlowRun, found: ContentType | None) -> str:
    """Give the address of the object's own page, where the user may see it."""
    model = found.model_class() if found else None
    own = page.admin.admin_site._registry.get(model) if model else None  # noqa: SLF001
    if model is None or own is None or not own.has_view_permission(page.request):
        return ""
    meta = model._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[run.object_key])
    except NoReverseMatch:
        return ""


def _waited(run: FlowRun) -> FlowRun | None:
    if run.wait_child is None:
        return None
    return FlowRun.objects.filter(uuid=run.wait_child).select_related("flow").first()


def _raw(value: Any) -> str:
    return pretty(value) if isinstance(value, dict | list) else "-" if value is None else str(value)
