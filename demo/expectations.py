"""What must be true in the end; each expectation is printed as ok or NOT ok."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core import mail

from flowcontrol.models import EventKind, FlowRun, RunEvent, SkippedFiring
from flowcontrol.registry import registry
from flowcontrol_example_audit.models import AuditEntry
from flowcontrol_example_sms import gateway
from shop.models import Customer, Voucher
from terminal import paint
from timeline import mails_of


@dataclass(frozen=True)
class Finding:
    """One expectation, and what was found."""

    expectation: str
    found: Any
    wanted: Any

    @property
    def is_ok(self) -> bool:
        return bool(self.found == self.wanted)

    @property
    def line(self) -> str:
        if self.is_ok:
            return f"{paint('ok', 'green')}      {self.expectation}"
        shown = f"expected {self.wanted!r}, found {self.found!r}"
        return f"{paint('NOT ok', 'red')}  {self.expectation}: {shown}"


#: By flow: how its runs ended, in the order in which they were created.
ENDINGS = {
    "welcome-series": ["complete"] * 4 + ["obsolete", "complete"],
    "order-follow-up": ["complete", "aborted", "obsolete", "aborted"],
    "credit-check": ["complete"] * 4,
    "abandoned-payment": ["complete"],
    "ship-order": ["complete"],
    "nightly-digest": ["complete"],
    "login-audit": ["complete"] * 6,
    "password-alarm": ["complete"],
    "farewell": ["complete"],
}
MAILS = {
    "Ada": [
        "Welcome to Paper & Ink, Ada",
        "Your order 1",
        "Thank you for paying order 1",
        "A voucher for you",
        "Three books for Ada",
    ],
    "Bruno": [
        "Welcome to Paper & Ink, Bruno",
        "Your order 2",
        "Reminder 1: order 2",
        "Reminder 2: order 2",
        "Reminder 3: order 2",
        "Three books for Bruno",
    ],
    "Cleo": [
        "Welcome to Paper & Ink, Cleo",
        "Your order 3",
        "A voucher for you",
        "Three books for Cleo",
    ],
    "Dora": ["Welcome to Paper & Ink, Dora", "Your order 4", "Three books for Dora"],
    "Emil": ["Welcome to Paper & Ink, Emil"],
    "Fay": ["Welcome to Paper & Ink, Fay", "A voucher for you", "Five books for Fay"],
    "manager": ["Please check order 4", "Orders until Fri 27 Mar"],
    "admin": ["Wrong password"],
}
SMS = [
    ("+49 30 1001", "Your parcel PI-1001 is on its way."),
    ("+49 30 1002", "Bruno, your books are waiting: please pay order 2."),
]
AUDIT = [
    "Emil has closed the account",
    "Order 2 was not paid after 3 reminders",
    "Wrong password for ada",
    *(f"{name} has logged in" for name in ("ada", "bruno", "cleo", "dora", "emil", "fay")),
]


def check_all() -> list[Finding]:
    """Return the findings of all checks; an error in a check is a finding too."""
    checks = (_endings, _mails, _other_effects, _times, _failure, _refusals, _versions, _usage)
    return [finding for check in checks for finding in _findings_of(check)]


def _findings_of(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - any error is a finding
        return [Finding(check.__name__.strip("_"), f"{type(error).__name__}: {error}", "no error")]


def _endings() -> Iterator[Finding]:
    runs = FlowRun.objects.order_by("pk").values_list("flow__key", "outcome")
    found: dict[str, list[str]] = {}
    for key, outcome in runs:
        found.setdefault(key, []).append(outcome)
    for key, wanted in ENDINGS.items():
        words = ", ".join(f"{count} {word}" for word, count in Counter(wanted).items())
        yield Finding(f"the runs of {key} have ended: {words}", found.pop(key, []), wanted)
    yield Finding("no other flow has runs", found, {})


def _mails() -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for message in mail.outbox:
        for recipient in message.recipients():
            found.setdefault(recipient.partition("@")[0], []).append(str(message.subject))
    for name, wanted in MAILS.items():
        number = "1 e-mail" if len(wanted) == 1 else f"{len(wanted)} e-mails, each once, in order"
        text = f"{name} got {number}"
        yield Finding(text, found.pop(name.lower(), []), wanted)
    yield Finding("there are no other recipients", found, {})
    ids = [message.extra_headers["Message-ID"] for message in mail.outbox]
    digest = [message.body for message in mail.outbox if message.subject.startswith("Orders")]
    wanted = ["Wed 25 Mar: 0, Thu 26 Mar: 0, Fri 27 Mar: 4"]
    yield Finding("the digest counts down to today", digest, wanted)
    yield Finding("each e-mail has a Message-ID of its own", len(set(ids)), len(ids))
    senders = sum(len(mails_of(run)) for run in FlowRun.objects.all())
    yield Finding("each e-mail belongs to one run", senders, len(ids))


def _other_effects() -> Iterator[Finding]:
    sent = [(message.phone, message.text) for message in gateway.sent]
    yield Finding("two SMS were sent, each once", sent, SMS)
    codes = list(Voucher.objects.values_list("customer__name", flat=True))
    yield Finding("each reader of the newsletter has one voucher", codes, ["Ada", "Cleo", "Fay"])
    entries = sorted(AuditEntry.objects.values_list("text", flat=True))
    yield Finding(f"the audit log has its {len(AUDIT)} entries, each once", entries, AUDIT)


def _times() -> Iterator[Finding]:
    berlin, london = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/London")
    text = "the voucher arrives on Monday at nine, despite the change to summer time"
    yield Finding(text, _when("welcome-series", "gift", berlin), "Mon 30 Mar 09:00")
    text = "the tips arrive three days later, in the evening"
    yield Finding(text, _when("welcome-series", "tips", berlin), "Thu 02 Apr 18:00")
    canceled = FlowRun.objects.get(flow__key="order-follow-up", outcome="obsolete")
    finished = canceled.finished_at and canceled.finished_at.astimezone(berlin)
    text = "the follow-up of a canceled order ends immediately"
    yield Finding(text, f"{finished:%a %d %b %H:%M}", "Fri 27 Mar 16:38")
    text = "the digest is sent at ten in London"
    yield Finding(text, _when("nightly-digest", "digest", london), "Fri 27 Mar 22:00")


def _when(flow: str, step: str, zone: ZoneInfo) -> str:
    """Return when the first run of a flow executed a step."""
    events = RunEvent.objects.filter(run__flow__key=flow).order_by("run_id", "pk")
    times = [entry["at"] for event in events for entry in event.steps if entry["step"] == step]
    return f"{datetime.fromisoformat(times[0]).astimezone(zone):%a %d %b %H:%M}"


def _failure() -> Iterator[Finding]:
    events = RunEvent.objects.filter(run__flow__key="ship-order")
    failed = [event.error for event in events.filter(error__isnull=False)]
    shown = [(error["step"], error["type"]) for error in failed if error]
    text = "the failed step was executed twice, and each error names the step"
    yield Finding(text, shown, [("parcel", "CarrierDown")] * 2)
    actors = events.filter(kind=EventKind.OPERATOR).values_list("actor", flat=True)
    yield Finding("the operator's retry is in the history", list(actors), ["operator"])


def _refusals() -> Iterator[Finding]:
    survey = FlowRun.objects.get(flow__key="ship-order").state.get("survey", {})
    found = (survey.get("started"), survey.get("reason"))
    yield Finding("the state shows why the survey was not started", found, (False, "inactive"))
    refused = SkippedFiring.objects.filter(flow_trigger__flow__key="password-alarm")
    reasons = list(refused.values_list("reason", flat=True))
    yield Finding("the limit refused a second alarm", reasons, ["limit"])


def _versions() -> Iterator[Finding]:
    runs = FlowRun.objects.filter(flow__key="welcome-series").order_by("pk")
    found = list(runs.values_list("version__number", flat=True))
    text = "runs stay on their version when the flow is published again"
    yield Finding(text, found, [1, 1, 1, 1, 1, 2])


def _usage() -> Iterator[Finding]:
    entries = [entry for event in RunEvent.objects.all() for entry in event.steps]
    used = {entry["action"] for entry in entries if "action" in entry}
    text = f"all {len(registry.actions)} registered actions were executed"
    yield Finding(text, sorted(set(registry.actions) - used), [])
    yield Finding("every run has ended", FlowRun.objects.live().count(), 0)
    names = list(Customer.objects.values_list("name", flat=True))
    text = "the customers are those who signed up and did not close their accounts"
    yield Finding(text, names, ["Ada", "Bruno", "Cleo", "Dora", "Fay"])
