"""Django's system checks: what is misconfigured, why that matters, and what to write instead.

The ids are stable; ``docs/reference/checks.md`` explains each.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connections, router

from flowcontrol_core.conf import Settings, get_settings, known_names
from flowcontrol_core.errors import DocumentError, Problem
from flowcontrol_core.expressions.extensions import opened_filters
from flowcontrol_core.expressions.visibility import has_name, names_to_list
from flowcontrol_core.flows.document_checks import check_document
from flowcontrol_core.flows.drafts import get_document
from flowcontrol_core.flows.flow_triggers import check_association
from flowcontrol_core.models import Flow, FlowTrigger
from flowcontrol_core.models.columns import holds_all_characters
from flowcontrol_core.plugins.discovery import OWNERS, find_plugins, package_faults
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import disabled_names
from flowcontrol_core.redaction import HIDDEN, is_secret
from flowcontrol_core.runs.store.connection import alias, pool_size
from flowcontrol_core.suggest import did_you_mean, possible

TAG = "flowcontrol"
DISPATCHES = ("sweep", "inline", "celery")
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
    register(check_routers, TAG)
    register(check_filters, TAG)
    register(check_visible_names, TAG)
    register(check_plugin_names, TAG)
    register(check_sqlite, TAG)
    register(check_pool, TAG)
    register(check_characters, TAG, Tags.database)
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
    """E006: another distribution has a package of our name. E007: ours is not what is imported."""
    return [
        Error(fault.text, hint=fault.remedy, id=f"flowcontrol.{fault.check}")
        for fault in package_faults()
    ]


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


def check_routers(**_: Any) -> list[CheckMessage]:
    """E011, E012, W011: the routers part the tables of Flowcontrol, or leave a database without."""
    models = list(apps.get_app_config("flowcontrol_core").get_models())
    used = {router.db_for_write(model) for model in models}
    if len(used) > 1:
        text = f"The routers write the models of flowcontrol_core to {', '.join(sorted(used))}."
        hint = "Name one database for all of them: what belongs together is written together."
        return [Error(text, hint=hint, id="flowcontrol.E011")]
    name = alias()
    if name not in connections.settings or not router.allow_migrate(name, "flowcontrol_core"):
        text = f"The routers write the models of flowcontrol_core to {name!r}, which has no tables."
        hint = "Name the database in DATABASES, and let allow_migrate() answer True for it."
        return [Error(text, hint=hint, id="flowcontrol.E012")]
    read = sorted({router.db_for_read(model) for model in models} - {name})
    if not read:
        return []
    text = (
        f"The routers read the models of flowcontrol_core from {', '.join(read)}, but write them "
        f"to {name}: the pages of the admin may show what was, and refuse edits of it."
    )
    hint = "Let db_for_read() answer for flowcontrol_core what db_for_write() does."
    return [CheckWarning(text, hint=hint, id="flowcontrol.W011")]


def check_filters(**_: Any) -> list[CheckMessage]:
    """W007: FLOWCONTROL["EXPRESSION_FILTERS"] opens a filter that cannot be used."""
    return [
        CheckWarning(
            f'FLOWCONTROL["EXPRESSION_FILTERS"]: {fault}',
            hint="Correct it; until then, runs whose expressions need the filter are blocked.",
            id="flowcontrol.W007",
        )
        for fault in opened_filters().faults
    ]


def check_visible_names(**_: Any) -> list[CheckMessage]:
    """W016: FLOWCONTROL["EXPRESSION_FIELDS"] names a model or a field that does not exist."""
    listing: object = get_settings().EXPRESSION_FIELDS
    if not isinstance(listing, dict) or not _are_lists(listing):
        return []
    return [message for label, names in listing.items() for message in _unlisted(label, names)]


def _unlisted(label: str, names: Sequence[str]) -> Iterator[CheckMessage]:
    place = f'FLOWCONTROL["EXPRESSION_FIELDS"]["{label}"]'
    models = {each._meta.label_lower: each for each in apps.get_models(include_auto_created=True)}
    model = models.get(label.lower())
    if model is None:
        hint = did_you_mean(label, models, 'Write labels of installed models: "app_label.model".')
        text = f"{place}: there is no such model, so nothing is listed."
        yield CheckWarning(text, hint=hint, id="flowcontrol.W016")
        return
    known = names_to_list(model)
    for name in names:
        if not has_name(model, name):
            hint = did_you_mean(name, known, possible(known))
            text = f"{place} lists {name!r}, which {model._meta.label} does not have."
            yield CheckWarning(text, hint=hint, id="flowcontrol.W016")


def check_plugin_names(**_: Any) -> list[CheckMessage]:
    """W017: a plugin is disabled, or given to a distribution, that is not installed."""
    owners: object = get_settings().PLUGIN_OWNERS
    named = [*disabled_names().items()]
    if isinstance(owners, dict):
        named += [(name, 'the setting FLOWCONTROL["PLUGIN_OWNERS"]') for name in owners]
    found = [each.name for each in find_plugins()]
    known = sorted({*found, *OWNERS, *(report.name for report in plugin_manager.reports)})
    return [
        CheckWarning(
            f"No installed plugin is called {name!r}, which {place} names.",
            hint=did_you_mean(name, known, possible(known)),
            id="flowcontrol.W017",
        )
        for name, place in named
        if name not in known
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


def check_pool(**_: Any) -> list[CheckMessage]:
    """W015: the connection pool is too small for a step and the heartbeat beside it."""
    size = pool_size()
    if size is None or size > 1:
        return []
    name = alias()
    return [
        CheckWarning(
            f"The connection pool of the database {name!r} has {size} connection, but to execute a "
            "run takes two: one for its step, one for the heartbeat.",
            hint=f'Write DATABASES["{name}"]["OPTIONS"]["pool"] = {{"max_size": 2}}, or more: the '
            "number of threads and one.",
            id="flowcontrol.W015",
        )
    ]


def check_characters(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W012: the connection or the tables use utf8mb3, so that emoji are replaced."""
    if alias() not in (databases or ()):
        return []
    try:
        if holds_all_characters(connections[alias()]):
            return []
    except DatabaseError:
        return []
    name = alias()
    return [
        CheckWarning(
            f"MariaDB ({name}) uses the character set utf8mb3 for the connection or the tables: "
            "characters of four bytes, such as emoji, are stored as “?”.",
            hint=f'Write DATABASES["{name}"]["OPTIONS"]["charset"] = "utf8mb4", and convert the '
            "tables: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4.",
            id="flowcontrol.W012",
        )
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
    shown = HIDDEN if is_secret(place) and "SECRET_NAMES" not in place else repr(value)
    return Error(
        f"{place} is {shown}, which is not {wanted}.",
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


def _are_secrets(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(item, str | None) for name, item in value.items()
    )


def _are_lists(value: object) -> bool:
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
    dict[str, str | None]: (
        'values by name, such as {"sms": os.environ["SMS_TOKEN"], "vault": None}',
        _are_secrets,
    ),
    dict[str, list[str]]: ('lists of texts, such as {"shop.order": ["total"]}', _are_lists),
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
