"""The history of a run as lines: when, what, and with which result."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from django.core import mail
from django.core.mail import EmailMessage

from flowcontrol.flows import get_document, step_label, summarize_step, zone_of
from flowcontrol.models import FlowRun, RunEvent
from flowcontrol_example_audit.models import AuditEntry
from flowcontrol_example_sms import gateway

_SIGNS = {
    "builtin.send_email": "✉",
    "sms.send": "☎",
    "audit.record": "✎",
    "builtin.start_flow": "→",
}
#: Their lines show the result, not the configuration.
_SHOWN_BY_RESULT = (
    *_SIGNS,
    "builtin.set_state",
    "builtin.update_state",
    "builtin.wait_for_trigger",
)
_WAITING = ("suspend", "suspend_and_repeat")


@dataclass(frozen=True)
class Line:
    """One line; ``time`` is in the zone of the flow, ``style`` a name of a colour, or empty."""

    time: datetime
    sign: str
    text: str
    style: str = ""


def mails_of(run: FlowRun) -> list[EmailMessage]:
    """Return the e-mails that a run has sent: their ids are made of its idempotency keys."""
    keys = _keys_of(run)
    ids = [str(message.extra_headers["Message-ID"]) for message in mail.outbox]
    pairs = zip(ids, mail.outbox, strict=True)
    return [message for id_, message in pairs if id_.strip("<").partition("@")[0] in keys]


def _keys_of(run: FlowRun) -> set[str]:
    return {str(uuid.uuid5(run.uuid, str(number))) for number in range(run.sequence + 1)}


class Timeline:
    """The history of one run, in lines."""

    def __init__(self, run: FlowRun) -> None:
        self.run = run
        self.document = get_document(run.version)
        self.zone: tzinfo = zone_of(self.document)
        self._effects = {
            "builtin.send_email": iter([_mail_text(message) for message in mails_of(run)]),
            "sms.send": iter(_sms_texts(run)),
            "audit.record": iter([str(x) for x in AuditEntry.objects.filter(run_uuid=run.uuid)]),
        }

    def lines(self) -> Iterator[Line]:
        """Yield the lines, oldest first."""
        yield self._line(self.run.created_at, "▷", _origin(self.run), "dim")
        for event in RunEvent.objects.filter(run=self.run):
            for entry in event.steps:
                yield from self._entry(entry)
            yield from self._event(event)
        yield self._ending()

    def _entry(self, entry: dict[str, Any]) -> Iterator[Line]:
        # The event of a failure has a line of its own; so have the steps in the pass of a loop.
        if "omitted" in entry or entry["answer"] == "failed":
            return
        result = self._result(entry)
        if entry.get("method") and not result:
            return
        title = self._title(entry, has_result=bool(result))
        text = f"{title}: {result}" if result else title
        sign, style = _sign(entry)
        yield self._line(datetime.fromisoformat(entry["at"]), sign, text, style)

    def _title(self, entry: dict[str, Any], *, has_result: bool) -> str:
        step = self.document.find(entry["step"])
        if step is None:
            return str(entry["step"])
        is_over = has_result and entry["answer"] not in _WAITING
        if is_over and entry["action"] in _SHOWN_BY_RESULT:
            return step_label(step)
        return summarize_step(step, self.document) or step_label(step)

    def _result(self, entry: dict[str, Any]) -> str:
        """Return the result of the call of a step, in words."""
        parts = [_change(key, change) for key, change in entry.get("changes", {}).items()]
        if entry["action"] in self._effects:
            parts.append(next(self._effects[entry["action"]], "nothing"))
        elif not parts:
            parts += entry.get("messages", [])
        return ", ".join(parts)

    def _event(self, event: RunEvent) -> Iterator[Line]:
        if not event.message or event.message == self.run.reason:
            return
        sign, style = ("✗", "red") if event.error else ("!", "")
        actor = f"{event.actor}: " if event.actor else ""
        yield self._line(event.at, sign, f"{actor}{event.message}", style)

    def _ending(self) -> Line:
        run = self.run
        if run.is_live:
            return self._line(run.since, "…", _waits_for(run, self.zone), "cyan")
        style = {"complete": "green", "errored": "red"}.get(run.outcome, "yellow")
        text = f"{run.outcome}: {run.reason}" if run.reason else run.outcome
        return self._line(run.finished_at or run.since, "=", text, style)

    def _line(self, time: datetime, sign: str, text: str, style: str = "") -> Line:
        return Line(time.astimezone(self.zone), sign, text, style)


def _mail_text(message: EmailMessage) -> str:
    return f"“{message.subject}” to {', '.join(message.recipients())}"


def _sms_texts(run: FlowRun) -> list[str]:
    keys = _keys_of(run)
    return [f"“{sms.text}” to {sms.phone}" for sms in gateway.sent if sms.key in keys]


def _sign(entry: dict[str, Any]) -> tuple[str, str]:
    if entry["answer"] in _WAITING:
        return "⏸", "yellow"
    if entry["answer"] == "abort":
        return "■", ""
    return _SIGNS.get(entry["action"], "·"), ""


def _change(key: str, change: list[list[Any]]) -> str:
    """Return how a key of the state has changed; an empty list means that the key is missing."""
    _, after = change
    return f"{key} = {_shown(after[0])}" if after else f"{key} removed"


def _shown(value: Any) -> str:
    """Return a value of the state as a reader needs it, without ids and empty values."""
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)).startswith("$"):
            return str(next(iter(value.values())))
        items = {key: item for key, item in value.items() if key != "run" and item not in ("", {})}
        return f"({', '.join(f'{key}: {_shown(item)}' for key, item in items.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _origin(run: FlowRun) -> str:
    if run.parent is not None:
        return f"started by run {run.parent_id}, {run.parent.flow}"
    return f"started by the trigger {run.trigger}" if run.trigger else "started by code"


def _waits_for(run: FlowRun, zone: tzinfo) -> str:
    reasons = [f"the trigger {run.wait_trigger}"] if run.wait_trigger else []
    due = run.wait_until or run.wait_timeout
    if due is not None:
        reasons.append(f"{due.astimezone(zone):%a %d %b %H:%M}")
    return f"{run.get_status_display()}, for {' or '.join(reasons) or 'an operator'}"
