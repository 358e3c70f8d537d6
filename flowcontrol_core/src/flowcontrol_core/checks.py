"""Django's system checks: what is misconfigured, why that matters, and what to write instead.

The ids are stable; ``docs/reference/checks.md`` explains each.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connections

import flowcontrol_core
from flowcontrol_core.conf import Settings, get_settings, known_names
from flowcontrol_core.errors import DocumentError, Problem
from flowcontrol_core.flows.document_checks import check_document
from flowcontrol_core.flows.drafts import get_document
from flowcontrol_core.flows.flow_triggers import check_association
from flowcontrol_core.models import Flow, FlowTrigger
from flowcontrol_core.plugins.discovery import installed_version
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.runs.store.connection import alias
from flowcontrol_core.suggest import did_you_mean

TAG = "flowcontrol"
DISPATCHES = ("sweep", "inline", "celery")
OTHER_DISTRIBUTION = "django-flowcontrol"
#: Settings that may be 0: they are then switched off.
_MAY_BE_ZERO = frozenset({"RETRY_BACKOFF", "COALESCE", "TRIGGER_CACHE_SECONDS"})
_SHORTEST_SQLITE_TIMEOUT = 5
_WAL = re.compile(r"journal_mode\s*=\s*'?wal", re.IGNORECASE)
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def register_checks() -> None:
    """Make Django run the checks."""
    register(check_settings, TAG)
    register(check_time_zone, TAG)
    register(check_dispatch, TAG)
    register(check_package, TAG)
    register(check_plugins, TAG)
    register(check_sqlite, TAG)
    register(check_debug, TAG, deploy=True)
    register(check_flows, TAG, Tags.database)


def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: a name in FLOWCONTROL that is not a setting. E002: a value of the wrong kind."""
    given = getattr(django_settings, "FLOWCONTROL", {})
    if not isinstance(given, dict):
        return [_wrong_value("FLOWCONTROL", given, 'a dictionary, such as {"LEASE": 60}')]
    unknown = [name for name in given if name not in known_names()]
    return [*(_unknown_name(name) for name in unknown), *_wrong_values(given)]


def check_time_zone(**_: Any) -> list[CheckMessage]:
    """E003: times without a zone cannot say when a run is due."""
    if django_settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False, but flows calculate with times that have a zone.",
            hint="Write USE_TZ = True in the settings.",
            id="flowcontrol.E003",
        )
    ]


def check_dispatch(**_: Any) -> list[CheckMessage]:
    """E004: DISPATCH has an unknown value. E005: it is "celery", which is not installed."""
    dispatch = get_settings().DISPATCH
    if dispatch not in DISPATCHES:
        known = ", ".join(repr(name) for name in DISPATCHES)
        return [
            Error(
                f'FLOWCONTROL["DISPATCH"] is {dispatch!r}, which is unknown, so that all runs wait '
                "for the next sweep.",
                hint=did_you_mean(dispatch, DISPATCHES, f"Write one of {known}."),
                id="flowcontrol.E004",
            )
        ]
    if dispatch != "celery" or importlib.util.find_spec("celery") is not None:
        return []
    return [
        Error(
            'FLOWCONTROL["DISPATCH"] is "celery", but Celery is not installed.',
            hint='Install it with `pip install "flowcontrol-core[celery]"`, or choose "sweep".',
            id="flowcontrol.E005",
        )
    ]


def check_package(**_: Any) -> list[CheckMessage]:
    """E006: another distribution brings a package of our name. E007: that one is imported."""
    found: list[CheckMessage] = []
    if version := installed_version(OTHER_DISTRIBUTION):
        found.append(
            Error(
                f"{OTHER_DISTRIBUTION} {version} is installed too: it is another project with a "
                "package of the same name, `flowcontrol`, so each overwrites files of the other.",
                hint=f"Run `pip uninstall {OTHER_DISTRIBUTION}`, then "
                "`pip install --force-reinstall --no-deps flowcontrol-core`.",
                id="flowcontrol.E006",
            )
        )
    place = _place_of("flowcontrol")
    if place != _place_of(flowcontrol_core.__name__):
        found.append(
            Error(
                f"The package `flowcontrol` is imported from {place or 'nowhere'}, which is not "
                "that of flowcontrol-core.",
                hint="Rename your module, or uninstall the distribution that it belongs to.",
                id="flowcontrol.E007",
            )
        )
    return found


def check_plugins(**_: Any) -> list[CheckMessage]:
    """W004: a plugin is not loaded; E008 where FLOWCONTROL["STRICT_PLUGINS"] asks for it."""
    strict = get_settings().STRICT_PLUGINS
    kind, id_ = (Error, "flowcontrol.E008") if strict else (CheckWarning, "flowcontrol.W004")
    return [
        kind(
            f"The plugin {report.name!r} ({report.distribution or report.module} "
            f"{report.version}) is not loaded. {report.reason}".replace(" )", ")"),
            hint=report.remedy or None,
            id=id_,
        )
        for report in plugin_manager.reports
        if report.is_broken
    ]


def check_sqlite(**_: Any) -> list[CheckMessage]:
    """W001, W002, W003: SQLite is not told to begin with a lock, to use WAL, and to wait."""
    name = alias()
    database = connections.settings[name]
    if database["ENGINE"] != "django.db.backends.sqlite3":
        return []
    options = database.get("OPTIONS", {})
    hint = f'Write DATABASES["{name}"]["OPTIONS"] = {_sqlite_options(options)!r}.'
    wrong = _sqlite_faults(options, str(database["NAME"]))
    return [
        CheckWarning(f"SQLite ({name}): {text}", hint=hint, id=f"flowcontrol.{id_}")
        for id_, text in wrong
    ]


def check_debug(**_: Any) -> list[CheckMessage]:
    """W010: with DEBUG, each connection of a worker keeps the statements of a sweep."""
    if not django_settings.DEBUG:
        return []
    return [
        CheckWarning(
            "DEBUG is True: Django keeps all statements of each connection. Workers forget them "
            "before each sweep, and need their memory until then.",
            hint="Write DEBUG = False in the settings of the processes that execute runs.",
            id="flowcontrol.W010",
        )
    ]


def check_flows(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W005: steps of active flows that would not run. W006: the same of their triggers."""
    if alias() not in (databases or ()):
        return []
    try:
        flows = list(
            Flow.objects.using(alias()).filter(active=True).exclude(published=None)
            .select_related("published").order_by("key")
        )  # fmt: skip
    except DatabaseError:
        # Nothing is migrated yet: `migrate` itself asks.
        return []
    return [message for flow in flows for message in _flow_messages(flow)]


def _flow_messages(flow: Flow) -> Iterator[CheckMessage]:
    version = flow.published
    if version is None:
        return
    try:
        document = get_document(version)
    except DocumentError as error:
        yield from (_flow_warning(flow, problem, "W005") for problem in error.problems)
        return
    yield from (
        _flow_warning(flow, problem, "W005") for problem in check_document(document, flow=flow)
    )
    for association in FlowTrigger.objects.using(alias()).filter(flow=flow, active=True):
        for problem in check_association(association, document):
            yield _flow_warning(flow, problem, "W006", f"trigger {association.trigger!r}, ")


def _flow_warning(flow: Flow, problem: Problem, id_: str, place: str = "") -> CheckMessage:
    place = place or (f"step {problem.step!r}, " if problem.step else "")
    return CheckWarning(
        f"The flow {flow.key!r} is active, but: {place}{problem}",
        hint="Correct it and publish the flow, install what is missing, or deactivate the flow.",
        id=f"flowcontrol.{id_}",
    )


def _unknown_name(name: object) -> CheckMessage:
    known = sorted(known_names())
    return Error(
        f'FLOWCONTROL["{name}"] is not a setting, so it does nothing.',
        hint=did_you_mean(name, known, f"The settings are {', '.join(known)}."),
        id="flowcontrol.E001",
    )


def _wrong_value(place: str, value: object, wanted: str) -> CheckMessage:
    return Error(
        f"{place} is {value!r}, which is not {wanted}.",
        hint=f"Write {wanted}.",
        id="flowcontrol.E002",
    )


def _wrong_values(given: dict[str, Any]) -> Iterator[CheckMessage]:
    kinds = get_type_hints(Settings)
    for item in fields(Settings):
        if item.name not in given:
            continue
        value = given[item.name]
        wanted, is_right = _KINDS[kinds[item.name]]
        if not is_right(value):
            yield _wrong_value(f'FLOWCONTROL["{item.name}"]', value, wanted)
        elif isinstance(value, int | float) and not _is_in_range(item.name, value):
            least = "0 or more" if item.name in _MAY_BE_ZERO else "more than 0"
            yield _wrong_value(f'FLOWCONTROL["{item.name}"]', value, f"a number, {least}")


def _is_in_range(name: str, value: float) -> bool:
    if isinstance(value, bool):
        return True
    return math.isfinite(value) and (value > 0 or (value == 0 and name in _MAY_BE_ZERO))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _are_texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and _are_texts([*value, *value.values()])


def _are_fields(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and _are_texts(listed) for name, listed in value.items()
    )


#: What a setting of a type takes: in words, and as a test.
_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a text", lambda value: isinstance(value, str)),
    bool: ("True or False", lambda value: isinstance(value, bool)),
    int: ("a whole number", _is_whole),
    int | None: ("a whole number, or None", lambda value: value is None or _is_whole(value)),
    float: ("a number of seconds", _is_number),
    tuple[str, ...]: ('a list of texts, such as ["name"]', _are_texts),
    dict[str, str]: ('texts by name, such as {"sms": "acme-sms"}', _are_texts_by_name),
    dict[str, list[str]]: ('lists by model, such as {"shop.order": ["total"]}', _are_fields),
}


def _sqlite_faults(options: dict[str, Any], file: str) -> Iterator[tuple[str, str]]:
    if options.get("transaction_mode") not in ("IMMEDIATE", "EXCLUSIVE"):
        yield "W001", "two workers at once end in an error, because transactions begin unlocked."
    is_in_memory = file == ":memory:" or "mode=memory" in file
    if not is_in_memory and not _WAL.search(str(options.get("init_command"))):
        yield "W002", "readers and the writer lock each other out: the journal mode is not WAL."
    timeout: Any = options.get("timeout")
    if not _is_number(timeout) or timeout < _SHORTEST_SQLITE_TIMEOUT:
        least = _SHORTEST_SQLITE_TIMEOUT
        yield "W003", f"the time-out for locks is not set, or below {least} seconds."


def _sqlite_options(present: dict[str, Any]) -> dict[str, Any]:
    """Return the options to write: ours, beside those of the project."""
    command = str(present.get("init_command") or "").strip()
    ours = dict(SQLITE_OPTIONS)
    if command and "journal_mode" not in command.lower():
        ours["init_command"] = f"{command.rstrip(';')}; {SQLITE_OPTIONS['init_command']}"
    return {**present, **ours}


def _place_of(package: str) -> Path | None:
    """Return the folder that a package is imported from, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve().parent.parent
