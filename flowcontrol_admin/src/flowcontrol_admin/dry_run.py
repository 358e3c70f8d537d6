"""The dry run of a flow: a page that shows what a run would do, and stores none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.base import Effects
from flowcontrol.errors import FlowcontrolError
from flowcontrol.flows import DryRun, DryRunEnd, DryRunStep, Passed, StartedFlow
from flowcontrol.models import Flow, FlowVersion, Outcome
from flowcontrol.redaction import redact_json
from flowcontrol.registry import registry
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.run_texts import show_datetime, show_length
from flowcontrol_admin.start import DRAFT, Asked, ask, show
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.descriptions import listed_value, shown_value
from flowcontrol_core.flows.drafts import readable_document

MOST_SHOWN = 300
MOST_DEPTH = 4
_ENDS = {
    DryRunEnd.WAITING: ("waiting", _("Stays waiting")),
    DryRunEnd.BLOCKED: ("blocked", _("Blocked")),
    DryRunEnd.CUT: ("warning", _("Cut off")),
}
#: What a step would do where it is not simply "continue".
_ANSWERS = {
    "enter": _("goes into “%(branch)s”"),
    "leave": _("leaves the branch"),
    "break": _("continues after the step around it"),
    "abort": _("stops the flow"),
    "failed": _("fails"),
}
_PASSED = {
    Passed.TIME: _("Waits until %(until)s. The clock was moved."),
    Passed.TIMEOUT: _("Waits for “%(trigger)s” until %(timeout)s, then times out."),
    Passed.EVENT: _("Waits for “%(trigger)s”. The event arrives."),
    Passed.CHILD: _("Waits for the started flow, taken as complete with an empty result."),
    Passed.RETRY: _("Is tried again at %(until)s. The clock was moved."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call, ready for printing."""

    step: str
    number: str
    label: str
    summary: str
    link: str
    #: How far into steps with branches it is, and how long after the beginning.
    depth: int
    after: str
    effect: str
    answer: str
    is_return: bool
    attempt: int
    changes: tuple[tuple[str, str, str], ...]
    messages: tuple[str, ...]
    error: str
    config: tuple[tuple[str, str], ...]
    started: tuple[StartedFlow, ...]
    wait: str


def dry_run(page: Page, flow: Flow) -> HttpResponse:
    """Show what a run would do with what was filled in; or what is wrong with that."""
    asked = ask(page, flow)
    if not asked.form.is_bound or not asked.is_valid(asked.show):
        return show(page, flow, asked)
    version = _chosen(asked)
    document = readable_document(version) or Document()
    try:
        result = _execute(flow, asked)
    except FlowcontrolError as error:
        asked.form.add_error(None, str(error))
        return show(page, flow, asked)
    return show(
        page,
        flow,
        asked,
        title=gettext("Dry run of “%(flow)s”") % {"flow": flow.name},
        crumb=gettext("Dry run"),
        result=result,
        end=_end(result),
        version=_version(version),
        passed=show_length((result.ended_at - result.began_at).total_seconds()),
        steps=[*_rows(flow, result, document)],
        has_uncalled=any(not one.is_called for one in result.steps),
        left_out=max(0, len(result.steps) - MOST_SHOWN),
        state=listed_value(redact_json(result.state)),
    )


def _is_draft(asked: Asked) -> bool:
    """Return whether the draft was chosen, as it is where nothing was."""
    return (asked.show.cleaned_data.get("version") or DRAFT) == DRAFT


def _chosen(asked: Asked) -> FlowVersion | None:
    return (asked.draft if _is_draft(asked) else None) or asked.published


def _version(version: FlowVersion | None) -> str:
    if version is None or not version.published_at:
        return gettext("The draft was executed for show.")
    text = gettext("Version %(number)d was executed for show.")
    return text % {"number": version.number}


def _execute(flow: Flow, asked: Asked) -> DryRun:
    cleaned, chosen = asked.form.cleaned_data, asked.show.cleaned_data
    payload = chosen["payload"]
    return flows.dry_run(
        flow,
        cleaned.get("object"),
        asked.state,
        draft=_is_draft(asked),
        payload=payload,
        events=dict.fromkeys(chosen.get("events", ()), payload),
        now=cleaned["at"],
    )


def _end(result: DryRun) -> tuple[str, str]:
    """Return the kind of the badge, and the word in it."""
    if result.end is DryRunEnd.DONE:
        return result.outcome, str(Outcome(result.outcome).label)
    kind, text = _ENDS[result.end]
    return kind, str(text)


def _rows(flow: Flow, result: DryRun, document: Document) -> Iterator[Row]:
    steps = result.steps[:MOST_SHOWN]
    called = {one.entry["step"]: _step(one, document) for one in steps}
    summaries = {key: flows.summarize_step(step, document) for key, step in called.items()}
    editor = url("flow_editor", flow.pk)
    for one in steps:
        step = called[one.entry["step"]]
        if not _is_plain_return(one):
            yield _row(one, step, summaries[step.id], editor, document, result.began_at)


def _is_plain_return(one: DryRunStep) -> bool:
    """Return whether a step comes back from its branch only to continue: that tells nothing."""
    entry = one.entry
    says_more = any(entry.get(name) for name in ("changes", "messages", "error"))
    return "method" in entry and entry["answer"] == "continue" and not says_more


def _after(entry: Mapping[str, Any], began_at: datetime) -> str:
    at = parse_datetime(entry["at"])
    seconds = (at - began_at).total_seconds() if at else 0
    return show_length(seconds) if seconds >= 1 else ""


def _step(one: DryRunStep, document: Document) -> Step:
    key, action = one.entry["step"], one.entry["action"]
    return document.find(key) or Step(id=key, action=action)


def _row(
    one: DryRunStep,
    step: Step,
    summary: str,
    editor: str,
    document: Document,
    began_at: datetime,
) -> Row:
    entry, visit = one.entry, document.index.get(step.id)
    return Row(
        step=step.id,
        number=visit.number if visit else "",
        label=flows.step_label(step),
        summary=summary if summary != flows.step_label(step) else "",
        link=f"{editor}#step-{step.id}",
        depth=min(visit.depth, MOST_DEPTH) if visit else 0,
        after=_after(entry, began_at),
        effect=_effect(one),
        answer=_answer(entry),
        is_return="method" in entry,
        attempt=entry.get("attempt", 1),
        changes=tuple(_changes(entry.get("changes", {}))),
        messages=tuple(entry.get("messages", ())),
        error=entry.get("error", ""),
        config=tuple(_config(step, one.config)),
        started=one.started,
        wait=_wait(one),
    )


def _effect(one: DryRunStep) -> str:
    if not one.is_called:
        return "external"
    return "database" if one.effects is Effects.DATABASE else ""


def _answer(entry: Mapping[str, Any]) -> str:
    text = str(_ANSWERS.get(entry["answer"], ""))
    return text % {"branch": entry.get("branch", "")} if "%" in text else text


def _changes(changes: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, (before, after) in changes.items():
        yield key, shown_value(before[0]) if before else "", shown_value(after[0]) if after else ""


def _config(step: Step, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        yield flows.field_label(step, name), listed_value(value)


def _wait(one: DryRunStep) -> str:
    if one.wait is None or one.passed is None:
        return ""
    values = {
        "until": show_datetime(one.wait.until),
        "timeout": show_datetime(one.wait.timeout),
        "trigger": registry.trigger_label(one.wait.trigger or ""),
    }
    return str(_PASSED[one.passed]) % values
