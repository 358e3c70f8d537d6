"""``manage.py flowcontrol``: the plugins, the sweep, flows as files, and the operator actions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    SystemCheckError,
)
from django.db import DatabaseError, InterfaceError

from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.health import check_health, database_issue
from flowcontrol_core.management.files import exported, import_report, imported
from flowcontrol_core.management.health_report import health_report
from flowcontrol_core.management.plugin_table import plugin_table
from flowcontrol_core.management.progress import Progress
from flowcontrol_core.management.run_commands import (
    add_bulk_arguments,
    add_run_arguments,
    operate,
    operator,
    start_bulk,
    wait_for_end,
)
from flowcontrol_core.management.site_checks import site_issues
from flowcontrol_core.management.worker import (
    MOST_THREADS,
    deregister_quietly,
    missing_connections,
    stopping_on_signals,
    unused_queues,
    work,
)
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import with_migrations
from flowcontrol_core.runs.execution.sweep import continue_flowruns
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS
from flowcontrol_core.runs.operations.retention import Pruned, prune

#: Of (name, method, help): adds a subcommand, and returns its parser for the arguments.
AddCommand = Callable[[str, Callable[..., None], str], CommandParser]


class _CommonOptions(BaseCommand):
    """The options of every command of Django, to be given after the subcommand as well."""

    requires_system_checks: list[str] = []

    def add_base_argument(self, parser: CommandParser, *names: Any, **kwargs: Any) -> None:
        # Only what is given is set: a default would undo what stands before the subcommand.
        super().add_base_argument(parser, *names, **kwargs | {"default": argparse.SUPPRESS})


class Command(BaseCommand):
    """Each subcommand is one method."""

    help = "Run, inspect and operate flows."
    # Checked are the subcommands that execute flows: the others are needed when a check fails.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", required=True, title="subcommands")

        common = _CommonOptions().create_parser("", "flowcontrol", add_help=False)

        def add(name: str, method: Callable[..., None], text: str) -> CommandParser:
            added: CommandParser = commands.add_parser(name, help=text, parents=[common])
            added.set_defaults(method=method)
            return added

        self._add_executing(add)
        self._add_files(add)
        text = "list the plugins and their statuses; exit status 1 if one is broken"
        add("plugins", self.plugins, text)
        self._add_upkeep(add)
        for action in OPERATOR_ACTIONS.values():
            parser = add(action.slug, self.operate, str(action.effect))
            add_run_arguments(parser, action)
            parser.set_defaults(action=action)

    def _add_executing(self, add: AddCommand) -> None:
        run = add("run", self.run, "execute what is due: one bounded sweep, for cron")
        text = "the most runs (setting SWEEP_LIMIT)"
        run.add_argument("--limit", type=_number_of("runs"), metavar="N", help=text)
        worker = add("worker", self.worker, "execute what becomes due, until it is stopped")
        text = "seconds between two sweeps while nothing is due (default 1)"
        worker.add_argument("--interval", type=_seconds, default=1.0, help=text)
        worker.add_argument("--once", action="store_true", help="stop after the first sweep")
        text = "only runs of flows with this queue; may be given several times (default: all)"
        worker.add_argument(
            "--queue", action="append", default=[], dest="queues", metavar="NAME", help=text
        )
        text = f"how many threads execute runs, up to {MOST_THREADS} (default 1)"
        threads = _number_of("threads", MOST_THREADS)
        worker.add_argument("--concurrency", type=threads, default=1, metavar="N", help=text)

    def _add_upkeep(self, add: AddCommand) -> None:
        text = "print what is wrong, and the remedy; exit status 1 if anything is urgent"
        doctor = add("doctor", self.doctor, text)
        doctor.add_argument("--json", action="store_true", help="write JSON")
        text = "delete what has ended longer ago than the settings and the flows say"
        prune = add("prune", self.prune, text)
        text = "the most batches of 150 (default: all)"
        prune.add_argument("--batches", type=_number_of("batches"), metavar="N", help=text)
        prune.add_argument("--by", default=operator(), help="who, for the record")
        add_bulk_arguments(add("bulk", self.bulk, "an operator action on many runs, by the sweeps"))

    def _add_files(self, add: AddCommand) -> None:
        export = add("export", self.export, "write flows as YAML to standard output")
        export.add_argument("keys", nargs="*", metavar="KEY", help="the flows (default: all)")
        export.add_argument("--drafts", action="store_true", help="as they are being edited")
        text = "make drafts of the flows of an exported file, all or none"
        import_ = add("import", self.import_, text)
        import_.add_argument("file", metavar="FILE", help="the file; - is standard input")
        import_.add_argument("--publish", action="store_true", help="publish the drafts")
        import_.add_argument("--activate", action="store_true", help="let the flows start runs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["method"](options)
        except FlowcontrolError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            issue = database_issue(error)
            raise CommandError(f"{issue.message} {issue.remedy}") from error

    def plugins(self, options: dict[str, Any]) -> None:
        reports = with_migrations(plugin_manager.reports)
        self.stdout.write(plugin_table(reports, details=options["verbosity"] > 1), ending="")
        broken = [report for report in reports if report.is_broken]
        parts = {
            "Not loaded": [report.name for report in broken if not report.is_loaded],
            "Not migrated": [report.name for report in broken if report.is_loaded],
        }
        if broken:
            lines = (f"{part}: {', '.join(names)}." for part, names in parts.items() if names)
            raise CommandError(" ".join(lines))

    def run(self, options: dict[str, Any]) -> None:
        self._check_site()
        with stopping_on_signals():
            result = continue_flowruns(options["limit"])
        deregister_quietly(once=True)
        more = " More are due." if result.more else ""
        self.stdout.write(f"{_counted(result.executed, 'run')} executed.{more}")

    def worker(self, options: dict[str, Any]) -> None:
        self._check_site()
        for queue in unused_queues(options["queues"]):
            self.stderr.write(f"No flow has the queue {queue!r}: is that its name?")
        if missing := missing_connections(options["concurrency"]):
            self.stderr.write(
                f"The connection pool lacks {_counted(missing, 'connection')}: each thread needs "
                "one, and the heartbeat. Raise its max_size, or lower --concurrency."
            )
        self._write(options, "The worker has started.")
        with stopping_on_signals():
            work(
                interval=options["interval"],
                once=options["once"],
                queues=options["queues"],
                concurrency=options["concurrency"],
                report=lambda count: self._write(options, f"{_counted(count, 'run')} executed."),
            )
        self._write(options, "The worker has stopped.")

    def _check_site(self) -> None:
        """Write what is wrong with the site; raises SystemCheckError for what is an error."""
        issues = site_issues()
        text = "\n".join(("System check identified some issues:\n", *map(str, issues)))
        if any(issue.is_serious() for issue in issues):
            raise SystemCheckError(text)
        if issues:
            self.stderr.write(text)

    def export(self, options: dict[str, Any]) -> None:
        self.stdout.write(exported(options["keys"], drafts=options["drafts"]), ending="")

    def import_(self, options: dict[str, Any]) -> None:
        progress = Progress(self.stderr)
        try:
            results = imported(
                options["file"],
                publish=options["publish"],
                activate=options["activate"],
                report=lambda done, total: progress.show("Importing ...", done, total),
            )
        finally:
            progress.close()
        for result in results:
            for line in import_report(result):
                self.stdout.write(line)

    def doctor(self, options: dict[str, Any]) -> None:
        health = check_health()
        self.stdout.write(health_report(health, as_json=options["json"]), ending="")
        if not health.is_healthy:
            raise CommandError(_counted(len(health.issues), "issue"))

    def prune(self, options: dict[str, Any]) -> None:
        progress = Progress(self.stderr)
        try:
            pruned = prune(
                batches=options["batches"],
                by=options["by"],
                report=lambda count: progress.show(f"{_counted(count, 'row')} deleted ..."),
            )
        finally:
            progress.close()
        self.stdout.write(_deleted(pruned))

    def bulk(self, options: dict[str, Any]) -> None:
        operation, progress = start_bulk(options), Progress(self.stderr)
        self.stdout.write(
            f"Bulk operation {operation.pk} was created; the workers do it in chunks."
        )
        if not options["wait"]:
            return
        try:
            self.stdout.write(wait_for_end(operation, progress))
        except KeyboardInterrupt:
            progress.close()
            self.stdout.write(f"Bulk operation {operation.pk} continues.")

    def operate(self, options: dict[str, Any]) -> None:
        self.stdout.write(_described(operate(options["action"], options)))

    def _write(self, options: dict[str, Any], line: str) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(line)
            # Where the output is a file or a pipe, it may be read while the worker runs.
            self.stdout.flush()


def _described(run: FlowRun) -> str:
    if run.request and run.status == Status.RUNNING:
        return f"Run {run.pk} is being executed; it answers at its next checkpoint."
    ended = f", {run.get_outcome_display()}" if run.outcome else ""
    return f"Run {run.pk} is {run.get_status_display()}{ended}."


def _deleted(pruned: Pruned) -> str:
    parts = [f"{name} {count}" for name, count in asdict(pruned).items() if count]
    return f"Deleted: {', '.join(parts)}." if parts else "There is nothing to delete."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number_of(what: str, most: int | None = None) -> Callable[[str], int]:
    """Return the reader of an option that is a number of something, from 1 to ``most``."""
    wanted = f"1 to {most}" if most else "1 or more"

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if number < 1 or (most and number > most):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a valid number of {what}; expected {wanted}."
            )
        return number

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid time in seconds, such as 0.5.")
    return seconds
