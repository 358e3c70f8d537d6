"""What the demo prints: a timeline for each run, skipped firings, and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.core import mail
from django.db.models import Sum

from flowcontrol.models import Flow, FlowRun, SkippedFiring
from flowcontrol_example_audit.models import AuditEntry
from flowcontrol_example_sms import gateway
from terminal import fit, heading, paint
from timeline import Timeline
from world import World


def print_timelines() -> None:
    """Print the history of each run."""
    heading("What the runs did (times in the time zones of their flows)")
    runs = FlowRun.objects.select_related("flow", "version", "parent__flow")
    for run in runs.order_by("created_at", "pk"):
        _print_run(run)


def _print_run(run: FlowRun) -> None:
    about = f", {run.object_text}" if run.object_text else ""
    title = f"{run.flow.name}, run {run.pk}, version {run.version.number}{about}"
    print(f"\n{paint(fit(title), 'bold')}")
    previous = ""
    for line in Timeline(run).lines():
        time = f"{line.time:%a %d %b %H:%M}"
        shown = "" if time == previous else time
        previous = time
        text = f"{line.sign} {fit(line.text, 22)}"
        print(f"  {shown:16}  {paint(text, line.style) if line.style else text}")


def print_skipped_firings() -> None:
    """Print which triggers fired for a flow without starting a run, and why."""
    heading("Triggers that started no run, and why")
    skipped_firings = SkippedFiring.objects.select_related("flow_trigger__flow").order_by("pk")
    for firing in skipped_firings:
        trigger = firing.flow_trigger
        text = f"{trigger.trigger} -> {trigger.flow}: {firing.get_reason_display()}"
        print(f"  {fit(f'{text} ({firing.detail})' if firing.detail else text, 2)}")


def print_summary(world: World, seconds: float) -> None:
    """Print the totals."""
    heading("Totals")
    outcomes = Counter(FlowRun.objects.values_list("outcome", flat=True))
    steps = FlowRun.objects.aggregate(total=Sum("sequence"))["total"]
    _print_table(
        [
            ("flows", str(Flow.objects.count())),
            ("runs", f"{sum(outcomes.values())} ({_listed(outcomes)})"),
            ("steps executed", str(steps)),
            ("e-mails", str(len(mail.outbox))),
            ("SMS", str(len(gateway.sent))),
            ("audit entries", str(AuditEntry.objects.count())),
            ("sweeps", str(world.sweeps)),
            ("queries", f"{world.queries}, including those of the site"),
            ("time", f"{seconds:.1f} s, for about two weeks"),
        ]
    )


def _listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{number} {word or 'live'}" for word, number in outcomes.most_common())


def _print_table(rows: Iterable[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"  {name:16}  {value}")
