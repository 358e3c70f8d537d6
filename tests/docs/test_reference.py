"""The reference says what the code says: no more, no less."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any

import pytest
import yaml
from django.core.management import load_command_class
from django.db.models import TextChoices

import flowcontrol
from flowcontrol.base import BaseAction, RunContext
from flowcontrol.registry import Trigger, registry
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol_core import bounds
from flowcontrol_core.conf import Settings
from flowcontrol_core.document import format as document_format
from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.document.tree import Document, RetryPolicy, Step
from flowcontrol_core.engine.directives import Kind
from flowcontrol_core.engine.state import State
from flowcontrol_core.expressions.filters import FILTERS
from flowcontrol_core.expressions.scope import RESERVED_NAMES
from flowcontrol_core.expressions.templates import TAGS
from flowcontrol_core.flows.import_files import read_file
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES, RETENTION
from flowcontrol_core.models import EventKind, LimitPolicy, Mode, Outcome, Refusal, Status
from flowcontrol_core.plugins import hookspecs
from flowcontrol_core.plugins.reports import PluginStatus
from flowcontrol_triggers_signals import authentication
from flowcontrol_triggers_signals.model_triggers import ModelTriggers
from tests.cases import each
from tests.docs.pages import blocks, codes, names, read, rows, sections
from tests.shop.models import Order

DOCUMENT_KEYS = ["format", *document_format.DOCUMENT_KEYS]
MODULES = [
    *("base", "engine", "runs", "health", "forms", "registry", "errors", "tasks", "testing"),
]
API = sections(read("reference/api.md"))


def public_names() -> dict[str, Any]:
    found = {name: getattr(flowcontrol, name) for name in flowcontrol.__all__}
    for module_name in MODULES:
        module = importlib.import_module(f"flowcontrol.{module_name}")
        found |= {name: getattr(module, name) for name in module.__all__}
    return found


def test_every_public_name_is_documented_and_nothing_else() -> None:
    modules = {"Public API", "flowcontrol", *(f"flowcontrol.{name}" for name in MODULES)}
    assert set(API) - modules == set(public_names())


def test_every_module_is_documented_with_its_names_below_it() -> None:
    order = [name.rpartition(".")[2] for name in API if name.startswith("flowcontrol.")]
    assert order == MODULES


def functions() -> list[str]:
    return [name for name, value in public_names().items() if inspect.isfunction(value)]


@each("name", functions())
def test_a_function_is_documented_with_its_parameters_and_defaults(name: str) -> None:
    written = re.search(rf"`{name}\((.*?)\)`", API[name])
    assert written is not None, "begin the section with the signature in backticks"
    documented = ast.parse(f"def f({written[1]}): ...").body[0]
    assert isinstance(documented, ast.FunctionDef)
    given = {arg.arg for arg in [*documented.args.args, *documented.args.kwonlyargs]}
    given |= {arg.arg for arg in (documented.args.vararg, documented.args.kwarg) if arg}
    signature = inspect.signature(public_names()[name])
    assert given == set(signature.parameters)
    for parameter in signature.parameters.values():
        if isinstance(parameter.default, str | int | tuple | None):
            assert f"{parameter.name}={parameter.default!r}".replace("'", '"') in written[1]


def test_every_attribute_and_method_of_an_action_is_documented() -> None:
    own = {name for name in vars(BaseAction) if not name.startswith("_")}
    annotated = set(BaseAction.__annotations__)
    text = API["BaseAction"]
    written = codes(text)
    written |= {code.partition("(")[0].removeprefix("self.") for code in written}
    assert (own | annotated) - written == set()


def test_the_documented_defaults_of_an_action_are_those_of_the_class() -> None:
    for row in rows(API["BaseAction"]):
        if len(row) == 3 and row[1].startswith("`"):
            for name in re.findall(r"`(\w+)`", row[0]):
                assert getattr(BaseAction, name) == ast.literal_eval(row[1].strip("`")), name


def test_what_a_run_offers_is_documented() -> None:
    # The rest is how the engine fills it in.
    inner = {"load_object", "lock", "beat", "messages", "variables", "sequence", "dry"}
    offered = {item.name for item in fields(RunContext)} | {
        name for name in vars(RunContext) if not name.startswith("_")
    }
    documented = {code.partition("(")[0] for code in names(API["RunContext"])}
    assert documented == offered - inner


@pytest.mark.parametrize(
    "name", ["Trigger", "Wakeup", "Problem", "RunInfo", "Health", "HealthIssue", "Pruned"]
)
def test_the_fields_of_a_value_are_documented(name: str) -> None:
    value = public_names()[name]
    assert is_dataclass(value)
    # A trigger is given its key when it is registered.
    assert {item.name for item in fields(value)} - {"key"} <= codes(API[name]) | {"kind"}


def test_every_setting_is_documented_with_its_default_and_unit() -> None:
    table = rows(sections(read("reference/settings.md"))["Settings"])
    defaults = asdict(Settings())
    assert [row[0].strip("`") for row in table] == list(defaults)
    for (name, default), row in zip(defaults.items(), table, strict=True):
        written = ast.literal_eval(row[1].strip("`"))
        assert (written, type(written)) == (default, type(default)), name
        is_number = Settings.__annotations__[name] in ("int", "float", "int | None")
        assert (row[2] != "-") == is_number, f"{name}: the unit"


def test_every_hook_is_documented() -> None:
    hooks = {
        name
        for name, value in vars(hookspecs).items()
        if hasattr(value, f"{hookspecs.PROJECT_NAME}_spec")
    }
    documented = {name for name in sections(read("reference/hooks.md")) if "flowcontrol_" in name}
    assert documented == hooks
    assert hooks


def test_every_plugin_status_is_documented() -> None:
    assert_values("reference/hooks.md", "Statuses of a plugin", PluginStatus)


def test_every_subcommand_is_documented_with_its_options() -> None:
    command = load_command_class("flowcontrol_core", "flowcontrol")
    parser = command.create_parser("manage.py", "flowcontrol")
    (subcommands,) = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    documented = sections(read("reference/command.md"))
    assert set(documented) - {"Management command"} == set(subcommands.choices)
    for name, subparser in subcommands.choices.items():
        for option in subparser._actions:
            wanted = option.option_strings[-1] if option.option_strings else option.dest
            assert wanted == "--help" or wanted in codes(documented[name]), f"{name}: {wanted}"


@pytest.mark.parametrize(
    ("heading", "keys", "value"),
    [
        ("Keys of the document", DOCUMENT_KEYS, Document()),
        ("Keys of a step", document_format.STEP_KEYS, Step(id="a", action="b.c")),
        ("Keys of `retry`", document_format.RETRY_KEYS, RetryPolicy(attempts=1)),
    ],
)
def test_every_key_of_the_document_is_documented(heading: str, keys: Any, value: Any) -> None:
    section = sections(read("reference/document.md"))[heading.replace("`", "")]
    assert names(section) == list(keys)
    for row in rows(section):
        if row[1].startswith("`"):
            default = getattr(value, row[0].strip("`"))
            assert yaml.safe_load(row[1].strip("`")) == default, row[0]


def test_the_example_of_a_document_has_every_key_and_is_read_as_it_stands() -> None:
    document, file = [
        yaml.safe_load(block.text) for block in blocks(read("reference/document.md"), "yaml")
    ]
    assert set(document) == set(DOCUMENT_KEYS)
    assert set(document["steps"][0]) == set(document_format.STEP_KEYS)
    assert set(document["steps"][0]["retry"]) == set(document_format.RETRY_KEYS)
    assert to_data(parse(document))["object"] == "shop.customer"
    (exported,) = read_file(yaml.safe_dump(file)).flows
    assert set(file["flows"][0]["limits"]) == {*LIMITS, *POLICIES}
    assert set(RETENTION) <= set(file["flows"][0])
    assert exported.triggers[0]["condition"] == 'payload.source != "import"'


def test_the_bounds_of_a_document_are_those_of_the_parser() -> None:
    table = rows(sections(read("reference/document.md"))["Bounds"])
    assert {row[0]: int(row[1]) for row in table} == {
        "steps": bounds.STEPS,
        "branches around a step": bounds.BRANCH_DEPTH,
        "bytes of the document, as JSON": bounds.DOCUMENT_BYTES,
        "levels inside one configuration": bounds.CONFIG_DEPTH,
        "characters of a guard": bounds.EXPRESSION_CHARACTERS,
        "characters of a note": bounds.NOTE_CHARACTERS,
        "days of a duration": bounds.DURATION_SECONDS // 86_400,
        "attempts": bounds.ATTEMPTS,
        "factor": bounds.FACTOR,
        "names of errors": bounds.ERROR_NAMES,
    }


def builtin_keys() -> list[str]:
    return [key for key, entry in registry.actions.items() if entry.plugin == "builtin"]


def test_every_builtin_action_is_documented() -> None:
    documented = [name for name in sections(read("reference/actions.md")) if "." in name]
    assert sorted(documented) == sorted(builtin_keys())


@each("key", builtin_keys())
def test_a_builtin_action_is_documented_as_it_is(key: str) -> None:
    section = sections(read("reference/actions.md"))[key]
    action = registry.get_action(key).action
    assert names(section) == list(action.Config.base_fields)
    for row in rows(section):
        field: Any = action.Config.base_fields[row[0].strip("`")]
        assert ("required" in row[1]) == field.required, row[0]
        if codes(row[1]):
            assert codes(row[1]) == {str(value) for value, _ in field.choices}, row[0]
    assert f"Effects: {action.effects.value}." in section
    branches = ", ".join(f"`{name}`" for name in action.branch_names()) or "none"
    assert re.search(rf"Branches: {re.escape(branches)}[.;]", section)
    assert ("A loop. Effects" in section) == action.is_loop


def test_every_signal_trigger_is_documented_with_its_payload() -> None:
    found: dict[str, Trigger] = {
        f"signals.{trigger.name}".replace("shop.order", "<model>"): trigger
        for trigger in ModelTriggers(Order).triggers
    }
    found |= {
        f"signals.{trigger.name}": trigger
        for trigger in (authentication.logged_in, authentication.login_failed)
    }
    section = sections(read("reference/triggers.md"))["Signal triggers"]
    assert names(section) == list(found)
    for row in rows(section):
        trigger = found[row[0].strip("`")]
        assert codes(row[3]) == set(trigger.payload)
        assert (row[2] == "none") == (not trigger.model)


def assert_values(page: str, heading: str, choices: type[Enum]) -> None:
    assert names(sections(read(page))[heading]) == [each.value for each in choices]


@each(
    ("page", "heading", "choices"),
    [
        ("reference/runs.md", "Statuses", Status),
        ("reference/runs.md", "Outcomes", Outcome),
        ("reference/runs.md", "Directives", Kind),
        ("reference/runs.md", "History", EventKind),
        ("reference/triggers.md", "Modes", Mode),
        ("reference/triggers.md", "Why nothing was started", Refusal),
    ],
)
def test_every_value_is_documented(page: str, heading: str, choices: type[TextChoices]) -> None:
    assert_values(page, heading, choices)


def test_every_limit_and_policy_is_documented() -> None:
    section = sections(read("reference/runs.md"))["Limits"]
    assert set(names(section)) == {*LIMITS, *LimitPolicy.values}
    policies = {row[2].strip("`") for row in rows(section) if len(row) == len(LIMITS)}
    assert policies >= set(POLICIES)


def test_every_operator_action_is_documented_with_the_statuses_it_is_possible_in() -> None:
    section = sections(read("reference/runs.md"))["Operator actions"]
    found = {row[0].strip("`"): row for row in rows(section)}
    assert list(found) == list(OPERATOR_ACTIONS)
    for name, action in OPERATOR_ACTIONS.items():
        assert codes(found[name][1]) == {argument.name for argument in action.arguments}, name
        written = set(re.sub(r"\(.*?\)", "", found[name][2]).replace(" ", "").split(","))
        assert written == {status.value for status in action.statuses}, name


def test_every_filter_tag_and_name_of_expressions_is_documented() -> None:
    page = sections(read("reference/expressions.md"))
    assert set(FILTERS) == codes(page["Filters"].partition("They differ")[0])
    assert set(TAGS) <= codes(page["Templates"])
    assert set(names(page["Names"])) == RESERVED_NAMES


def test_the_bounds_of_expressions_are_those_of_the_sandbox() -> None:
    written = [int(row[1]) for row in rows(sections(read("reference/expressions.md"))["Bounds"])]
    assert written == [
        bounds.EXPRESSION_CHARACTERS,
        bounds.TEMPLATE_CHARACTERS,
        bounds.EXPRESSION_NESTING,
        bounds.FILTER_CHARACTERS,
        bounds.FILTER_ITEMS,
        bounds.NUMBER_DIGITS,
        bounds.RENDER_ITERATIONS,
        bounds.RENDER_CHARACTERS,
        bounds.RENDER_SECONDS,
    ]


def test_the_documented_size_of_a_state_is_the_one_in_force() -> None:
    assert State().max_bytes == Settings().STATE_MAX_BYTES
