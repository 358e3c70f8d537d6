"""The head of a run's page: what it is doing, why, what comes next, and what can be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.flows import at_step, branch_label, step_label, step_of
from flowcontrol.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol.runs import OperatorAction
from flowcontrol_admin.filters import failed_with
from flowcontrol_admin.pages import url
from flowcontrol_admin.run_texts import headline, label_in, since_text, what_next
from flowcontrol_admin.run_track import siblings_after
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.step_checks import is_loop

#: Runs that failed alike are counted up to this many.
MOST_ALIKE = 100
#: The status as the style names it, and its icon.
STATUSES: Mapping[str, tuple[str, str]] = {
    Status.PENDING: ("waiting", "clock"),
    Status.RUNNING: ("current", "play"),
    Status.WAITING: ("waiting", "clock"),
    Status.PAUSED: ("waiting", "pause"),
    Status.BLOCKED: ("failed", "warning"),
    Outcome.COMPLETE: ("done", "check"),
    Outcome.ABORTED: ("skipped", "stop"),
    Outcome.ERRORED: ("failed", "cross"),
    Outcome.OBSOLETE: ("skipped", "never"),
    Outcome.CANCELED: ("skipped", "cross"),
}
#: The one action that helps a run as it stands, by its status or outcome.
_HELP: Mapping[str, str] = {
    Outcome.ERRORED: "retry",
    Status.BLOCKED: "retry",
    Status.PAUSED: "resume",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed: said once, with how often it was tried and how many others failed alike."""

    kind: str
    message: str
    attempts: str = ""
    alike: int = 0
    alike_url: str = ""

    @property
    def alike_text(self) -> str:
        text = ngettext(
            "%(count)s other run failed alike", "%(count)s other runs failed alike", self.alike
        )
        count = f"{MOST_ALIKE - 1}+" if self.alike >= MOST_ALIKE else str(self.alike)
        return text % {"count": count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands at the top of the page."""

    status: str
    icon: str
    title: str
    since: str
    step: str
    reason: str
    failure: Failure | None
    next_lines: tuple[str, ...]
    primary: OperatorAction | None
    primary_label: str
    others: tuple[OperatorAction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMaker:
    """Makes the head of one run."""

    run: FlowRun
    document: Document
    now: datetime
    step: Step | None
    #: The newest failure in the history.
    failed: RunEvent | None
    actions: Iterable[OperatorAction]
    #: Whether errors of all runs about such objects may be counted.
    may_count: bool = False

    def head(self, *, is_visible: bool) -> Head:
        """Return the head; what it tells of the object only where the user may view it."""
        status, icon = STATUSES[self.run.outcome or self.run.status]
        is_retried = self._is_retried()
        failure = self._failure() if is_visible else None
        primary = self._primary()
        return Head(
            status="failed" if is_retried else status,
            icon="undo" if is_retried else icon,
            title=headline(self.run, self.name),
            since=since_text(self.run, self.now),
            step=self.step.id if self.step and self.name else "",
            reason=self._reason() if is_visible and not failure else "",
            failure=failure,
            next_lines=tuple(filter(None, self._next(primary))),
            primary=primary,
            primary_label=self._primary_label(primary),
            others=tuple(action for action in self.actions if action is not primary),
        )

    @property
    def name(self) -> str:
        """Return the label of the step that the run is at, or was when it ended."""
        if self.run.outcome == Outcome.COMPLETE:
            return ""
        if self.step is not None:
            return step_label(self.step)
        values: Any = self.run.explanation.values
        told = str(values.get("step", "")) if isinstance(values, Mapping) else ""
        return label_in(self.document)(told) or step_of(self.run)

    def _reason(self) -> str:
        return self.run.explanation.describe(label_in(self.document))

    def _is_retried(self) -> bool:
        return self.run.status == Status.WAITING and bool(_tries(self.run))

    def _failure(self) -> Failure | None:
        is_failed = self.run.outcome == Outcome.ERRORED or self._is_retried()
        error: Any = self.failed.error if self.failed and is_failed else None
        if not isinstance(error, dict) or not error.get("type"):
            return None
        kind, alike = str(error["type"]), 0
        if self.run.outcome == Outcome.ERRORED and self.may_count:
            alike = min(self._alike(kind), MOST_ALIKE)
        query = {"flow": str(self.run.flow_id), "step": step_of(self.run), "error": kind}
        address = f"{url('flowrun_changelist')}?{urlencode(query)}"
        message = str(error.get("message", ""))
        return Failure(
            kind=kind, message=message, attempts=self._attempts(), alike=alike, alike_url=address
        )

    def _alike(self, kind: str) -> int:
        runs = FlowRun.objects.filter(flow=self.run.flow_id).exclude(pk=self.run.pk)
        alike = failed_with(at_step(runs, step_of(self.run)), kind)
        return len(alike.order_by().values_list("pk", flat=True)[:MOST_ALIKE])

    def _attempts(self) -> str:
        tried = _tries(self.run)
        most = self.step.retry.attempts if self.step and self.step.retry else 1
        if not tried:
            return ""
        text = ngettext(
            "Tried %(tried)d of %(most)d time.", "Tried %(tried)d of %(most)d times.", most
        )
        return text % {"tried": tried, "most": max(tried, most)}

    def _next(self, primary: OperatorAction | None) -> Iterable[str]:
        """Yield what comes next: by itself, by an action, and after this step."""
        if self.run.outcome == Outcome.ERRORED:
            yield _("Nothing, until someone acts.")
        yield from what_next(self.run)
        yield self._effect(primary)
        if self.step is not None and self._continues():
            yield follows(self.document, self.step)

    def _continues(self) -> bool:
        return self.run.is_live or self.run.outcome == Outcome.ERRORED

    def _effect(self, primary: OperatorAction | None) -> str:
        if primary is None or primary.name != "retry":
            return ""
        attempts = self.step.retry.attempts if self.step and self.step.retry else 1
        text = ngettext(
            "Retry calls “%(step)s” again, with %(attempts)d new attempt.",
            "Retry calls “%(step)s” again, with %(attempts)d new attempts.",
            attempts,
        )
        return text % {"step": self.name, "attempts": attempts}

    def _primary(self) -> OperatorAction | None:
        helpful = _HELP.get(self.run.outcome or self.run.status, "")
        wanted = "retry" if self._is_retried() else helpful
        return next((action for action in self.actions if action.name == wanted), None)

    def _primary_label(self, primary: OperatorAction | None) -> str:
        if primary is None:
            return ""
        if primary.name == "retry" and self.name:
            return _("Retry “%(step)s”") % {"step": self.name}
        return str(primary.label)


def follows(document: Document, step: Step) -> str:
    """Return in a sentence what follows a step: its branches, another step, or the next pass."""
    branches = [
        f"{branch_label(step, branch)} ({step_label(steps[0])})"
        for branch, steps in step.branches.items()
        if steps
    ]
    if branches:
        text = _("Then one of its branches follows: %(branches)s.")
        return text % {"branches": ", ".join(branches)}
    visit = document.index.get(step.id)
    while visit is not None:
        if siblings := siblings_after(document, visit):
            return _("Then “%(step)s” follows.") % {"step": step_label(siblings[0])}
        visit = visit.around
        if visit is not None and is_loop(visit.step, if_missing=False):
            return _("Then the next pass of “%(loop)s” follows.") % {"loop": step_label(visit.step)}
    return ""


def _tries(run: FlowRun) -> int:
    """Return how often the present step was tried and failed."""
    cursor: Any = run.cursor
    top = cursor[-1] if isinstance(cursor, list) and cursor else None
    tries = top.get("tries", 0) if isinstance(top, dict) else 0
    return tries if isinstance(tries, int) else 0
