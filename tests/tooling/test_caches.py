"""Whatever a process keeps between two calls says what it depends on.

What comes from the rows of a database is in a ``TenantCache``, which keeps tenants apart and
forgets when tables are emptied. Everything else stands in the table below: it would be right for
any tenant, and after any flush.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from flowcontrol_core.runs.store import connection
from flowcontrol_core.runs.store.connection import Tenant, TenantCache, tenant
from tests.tooling.sources import SOURCES, modules, parse

#: What is kept, and what it depends on: nothing that is in a database.
KEPT = {
    "flowcontrol_actions_builtin.forms.ConfigForm.needs": "the code",
    "flowcontrol_admin.filters.ActiveFilter": "the code",
    "flowcontrol_admin.filters.OutcomeFilter": "the code",
    "flowcontrol_admin.filters.PausedFilter": "the code",
    "flowcontrol_admin.filters.StatusFilter": "the code",
    "flowcontrol_admin.flow_settings.zone_choices": "the zones of the machine",
    "flowcontrol_admin.diagram.plan.TOP": "the code",
    "flowcontrol_admin.state_rows.StateRows": "the code",
    "flowcontrol_core.actions.registry.registry": "the plugins",
    "flowcontrol_core.actions.trigger.connection": "the process: the engine, once it has started",
    "flowcontrol_core.conf.get_settings": "the setting FLOWCONTROL, whose change forgets it",
    "flowcontrol_core.errors.interruptions": "the process: what ends it",
    "flowcontrol_core.errors.translations": "the process: how it translates",
    "flowcontrol_core.expressions.arithmetic._EXACT": "the code",
    "flowcontrol_core.expressions.extensions.extensions": "the plugins",
    "flowcontrol_core.expressions.extensions.opened_filters": "the setting EXPRESSION_FILTERS",
    "flowcontrol_core.expressions.visibility.NAMES_OF_OTHERS": "the models and the settings",
    "flowcontrol_core.expressions.visibility.NAMES_OF_ROOT": "the models and the settings",
    "flowcontrol_core.flows.config_forms._zoned": "the class of a form",
    "flowcontrol_core.flows.drafts._parsed": "the document itself, which is compared",
    "flowcontrol_core.flows.references._known": "the digest of a document, and the plugins",
    "flowcontrol_core.models.columns._holds_all": "the database, by alias and name: its charset",
    "flowcontrol_core.plugins.discovery._read_offers": "sys.path",
    "flowcontrol_core.plugins.manager.plugin_manager": "the plugins",
    "flowcontrol_core.redaction.IN_USE": "the call",
    "flowcontrol_core.redaction._names": "the setting for names of secrets",
    "flowcontrol_core.redaction.is_secret": "the name itself",
    "flowcontrol_core.redaction.is_secret_field": "the name itself",
    "flowcontrol_core.runs.execution.activation.executing": "the call: its context says the tenant",
    "flowcontrol_core.runs.execution.admission._NO_MAIL": "the code",
    "flowcontrol_core.runs.execution.sweep._inline": "the thread, and then the tenant",
    "flowcontrol_core.runs.execution.sweep.duties": "the code",
    "flowcontrol_core.runs.queue.heartbeat._pulse": "the database, and then the tenant",
    "flowcontrol_core.runs.queue.workers._request": "the process: that it is to stop",
    "flowcontrol_core.runs.queue.workers._writing": "the process",
    "flowcontrol_core.runs.store.clock._NEVER": "the code",
    "flowcontrol_core.runs.store.clock._clocks": "the alias of the database: its server's time",
    "flowcontrol_core.runs.store.clock._replacements": "the test",
    "flowcontrol_core.runs.store.connection._yielded_at": "the process: when it last slept",
    "flowcontrol_core.runs.store.connection.inserted_runs": "the call: a dry run reads it at once",
    "flowcontrol_core.runs.store.connection.senders": "the code",
    "flowcontrol_core.runs.store.process.process": "the process",
    "flowcontrol_core.runs.store.rows._insert_sql": "the alias of the database: its SQL",
    "flowcontrol_core.runs.store.rows._update_sql": "the alias of the database: its SQL",
    "flowcontrol_core.runs.store.sessions.note_connections": "nothing: it is done once",
    "flowcontrol_core.runs.store.connection.TenantCache.every": "the code: the caches themselves",
    "flowcontrol_core.runs.triggers.listeners.cache": "what it holds is in a TenantCache",
    "flowcontrol_core.runs.triggers.match._compiled": "the text of the condition",
    "flowcontrol_core.tables._migrated": "the database and schema: forgotten when it is migrated",
    "flowcontrol_core.runs.triggers.result.DEFERRED": "the code",
    "flowcontrol_core.runs.triggers.result.UNHEARD": "the code",
    "flowcontrol_core.tasks.senders['celery']": "the broker: until when it is left alone",
    "flowcontrol_core.zones._IN_FORCE": "the code",
    "flowcontrol_example_sms.gateway.sent": "the process: what an example has sent",
    "flowcontrol_triggers_signals.plugin.model_triggers": "the setting SIGNAL_MODELS",
}
#: The calls whose results never change, or keep nothing.
_CONSTANT = frozenset({
    "Argument", "Choice", "Decimal", "Duty", "FlowDirective", "HeaderRegistry", "HookimplMarker",
    "HookspecMarker", "Library", "MappingProxyType", "ParamSpec", "Part", "Path", "Piece", "Reason",
    "Span", "Stop", "Textarea", "Trigger", "TypeVar", "_", "_table", "attrgetter", "compile",
    "datetime", "frozenset", "get_args", "getLogger", "getattr", "gettext_lazy", "itemgetter",
    "object", "operator_function", "order_by", "partial", "pattern", "range", "render_sequence",
    "time", "timedelta", "tuple",
})  # fmt: skip
_CACHING = {"cache", "lru_cache", "cached_property"}


def name_of(node: ast.expr) -> str:
    """Return the last name of a call's or a decorator's function, such as ``compile``."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def keeps_something(target: ast.expr, value: ast.expr | None) -> bool:
    """Return whether an assignment in a module or a class makes something that may be filled."""
    if isinstance(value, ast.Call):
        return name_of(value) not in _CONSTANT
    is_container = isinstance(value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp)
    is_constant = isinstance(target, ast.Name) and target.id.isupper()
    is_empty = isinstance(value, ast.Dict | ast.List) and not ast.unparse(value)[1:-1]
    return is_container and (is_empty or not is_constant)


def kept_by(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield what a module keeps, and by what: a decorator, or the call that makes it.

    What a dataclass or a form declares is its own; a class that keeps something says ``ClassVar``.
    """
    for node in body:
        if isinstance(node, ast.ClassDef):
            shared = (each for each in node.body if isinstance(each, ast.AnnAssign))
            for each in shared:
                if "ClassVar" in ast.unparse(each.annotation):
                    yield from ((f"{node.name}.{name}", by) for name, by in assigned(each))
        elif isinstance(node, ast.FunctionDef):
            if caching := _CACHING & {name_of(each) for each in node.decorator_list}:
                yield node.name, caching.pop()
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from assigned(node)


def assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, str]]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        name = ast.unparse(target)
        if name != "__all__" and keeps_something(target, node.value):
            yield name, name_of(node.value) if node.value else ""


def kept() -> dict[str, str]:
    found = {}
    for folder in SOURCES:
        for path in modules(folder):
            module = ".".join(path.relative_to(folder).with_suffix("").parts)
            for name, by in kept_by(parse(path).body):
                found[f"{module}.{name}"] = by
    return found


def test_what_a_process_keeps_says_what_it_depends_on() -> None:
    undeclared = {name for name, by in kept().items() if by != "TenantCache"}
    assert undeclared - KEPT.keys() == set(), "put it into a TenantCache, or into the table"
    assert KEPT.keys() - undeclared == set(), "the table names what is gone"


def test_what_comes_from_rows_is_forgotten_together() -> None:
    assert len(TenantCache.every) >= 4
    for cache in TenantCache.every:
        cache[Tenant("default", "site"), "key"] = "value"
    connection._forget()
    assert not any(TenantCache.every)


def test_a_cache_keeps_tenants_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TenantCache, "every", [])
    cache: TenantCache[str] = TenantCache(most=2)
    for schema in ("a", "b"):
        monkeypatch.setattr(connection.connection(), "schema_name", schema, raising=False)
        assert (tenant(), 1) not in cache
        cache[tenant(), 1] = schema
        assert cache[tenant(), 1] == schema
    cache[tenant(), 2] = "newest"
    assert list(cache.values()) == ["b", "newest"]
    with pytest.raises(TypeError, match=r"begin with tenant\(\)"):
        cache[1, "digest"] = "of any tenant"


def test_a_new_cache_has_to_be_declared() -> None:
    source = """
found = {}
FOUND: dict[str, int] = {}
found_by_name: dict[str, int] = dict()
names = ["a"]
run = ContextVar("run")
NAMES = ("a", "b")
@lru_cache(maxsize=9)
def read(): ...
class Reader:
    every: ClassVar[list[str]] = []
"""
    assert [name for name, _ in kept_by(ast.parse(source).body)] == [
        "found", "FOUND", "found_by_name", "names", "run", "read", "Reader.every",
    ]  # fmt: skip
