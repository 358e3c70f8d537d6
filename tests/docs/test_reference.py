"""The reference says what the code says: no more, no less."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import load_command_class
from django.db.models import TextChoices

import flowcontrol
from flowcontrol import runs
from flowcontrol.base import BaseAction, RunContext
from flowcontrol.registry import Trigger, registry
from flowcontrol.runs import OPERATOR_ACTIONS
from flowcontrol_core import bounds, health
from flowcontrol_core.conf import Settings
from flowcontrol_core.document import format as document_format
from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.document.tree import Document, RetryPolicy, Step
from flowcontrol_core.engine.directives import Kind
from flowcontrol_core.engine.state import State
from flowcontrol_core.expressions.django_filters import DJANGO_FILTERS as FILTERS
from flowcontrol_core.expressions.scope import RESERVED_NAMES
from flowcontrol_core.expressions.templates import TAGS
from flowcontrol_core.flows.import_files import read_file
from flowcontrol_core.flows.lifecycle import LIMITS, POLICIES, RETENTION
from flowcontrol_core.models import (
    EventKind,
    FlowOperation,
    FlowRun,
    LimitPolicy,
    Mode,
    Outcome,
    Refusal,
    Status,
)
from flowcontrol_core.models.reasons import TEXTS
from flowcontrol_core.plugins import hookspecs
from flowcontrol_core.plugins.reports import PluginStatus
from flowcontrol_core.runs.operations import bulk
from flowcontrol_triggers_signals import authentication
from flowcontrol_triggers_signals.model_triggers import ModelTriggers
from tests.cases import each
from tests.docs.pages import DOCS, blocks, codes, entries, names, read, rows, sections
from tests.shop.models import Order

DOCUMENT_KEYS = ["format", *document_format.DOCUMENT_KEYS]
API = DOCS / "reference" / "api"
MODULES = names(read("reference/api/README.md"))
#: Values that are described elsewhere, or whose fields are not for their readers.
OPAQUE = {"FlowDirective", "MemoryRun", "RunContext", "Settings"}


def module_names(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


def page(module: str) -> str:
    """Return the page of a public module."""
    return (API / f"{module.removeprefix('flowcontrol.')}.md").read_text(encoding="utf-8")


def public_names() -> list[tuple[str, str, Any]]:
    """Return all public names, each with its section and what it is."""
    return [
        (name, entries(page(module)).get(name, ""), getattr(importlib.import_module(module), name))
        for module in MODULES
        for name in module_names(module)
    ]


def section_of(module: str, name: str) -> str:
    return entries(page(module))[name]


def test_every_public_module_has_a_page_that_is_in_the_index() -> None:
    folder = Path(flowcontrol.__file__).parent
    modules = {f"flowcontrol.{path.stem}" for path in folder.glob("[a-z]*.py")} | {"flowcontrol"}
    assert set(MODULES) == modules
    assert {path.name for path in API.glob("*.md")} == {
        "README.md",
        *(f"{module.removeprefix('flowcontrol.')}.md" for module in modules),
    }
    for module in MODULES:
        assert page(module).startswith(f"# {module}\n")


def test_every_public_name_is_documented_and_nothing_else() -> None:
    for module in MODULES:
        # The operator actions stand in a table.
        rest = set(OPERATOR_ACTIONS) if module == "flowcontrol.runs" else set()
        assert sorted({*entries(page(module)), *rest}) == sorted(module_names(module)), module


def functions() -> list[tuple[str, str, Any]]:
    found = [item for item in public_names() if inspect.isfunction(item[2])]
    return [item for item in found if item[0] not in OPERATOR_ACTIONS]


@each(("name", "section", "function"), functions())
def test_a_function_is_documented_with_its_parameters_and_defaults(
    name: str, section: str, function: Any
) -> None:
    written = re.search(rf"`{name}\((.*?)\)`", section)
    assert written is not None, "begin the section with the signature in backticks"
    documented = ast.parse(f"def f({written[1]}): ...").body[0]
    assert isinstance(documented, ast.FunctionDef)
    given = {arg.arg for arg in [*documented.args.args, *documented.args.kwonlyargs]}
    given |= {arg.arg for arg in (documented.args.vararg, documented.args.kwarg) if arg}
    signature = inspect.signature(function)
    assert given == set(signature.parameters)
    for parameter in signature.parameters.values():
        if isinstance(parameter.default, str | int | tuple | None):
            default = repr(getattr(parameter.default, "value", parameter.default))
            assert f"{parameter.name}={default}".replace("'", '"') in written[1]


def test_every_attribute_and_method_of_an_action_is_documented() -> None:
    own = {name for name in vars(BaseAction) if not name.startswith("_")}
    annotated = set(BaseAction.__annotations__)
    text = section_of("flowcontrol.base", "BaseAction")
    written = codes(text)
    written |= {code.partition("(")[0].removeprefix("self.") for code in written}
    assert (own | annotated) - written == set()


def test_the_documented_defaults_of_an_action_are_those_of_the_class() -> None:
    for row in rows(section_of("flowcontrol.base", "BaseAction")):
        if len(row) == 3 and row[1].startswith("`"):
            for name in re.findall(r"`(\w+)`", row[0]):
                assert getattr(BaseAction, name) == ast.literal_eval(row[1].strip("`")), name


def test_what_a_run_offers_is_documented() -> None:
    # The rest is how the engine fills it in.
    inner = {"load_object", "lock", "beat", "messages", "hidden", "sequence", "dry"}
    inner |= {"normalized_memo", "alive_at", "tenant"}
    offered = {item.name for item in fields(RunContext)} | {
        name for name in vars(RunContext) if not name.startswith("_")
    }
    documented = {
        code.partition("(")[0] for code in names(section_of("flowcontrol.base", "RunContext"))
    }
    assert documented == offered - inner


def values() -> list[tuple[str, str, Any]]:
    found = [item for item in public_names() if is_dataclass(item[2]) and item[0] not in OPAQUE]
    # Those of another module are documented once.
    return [item for item in found if "The same as" not in item[1]]


@each(("name", "section", "value"), values())
def test_the_fields_and_properties_of_a_value_are_documented(
    name: str, section: str, value: Any
) -> None:
    wanted = {item.name for item in fields(value)}
    wanted |= {name for name, member in vars(value).items() if isinstance(member, property)}
    written = codes(section) | set(re.findall(r"\.(\w+)", " ".join(codes(section))))
    assert wanted - written == set(), name


def test_the_documented_columns_of_a_model_exist() -> None:
    documented = entries(page("flowcontrol.models"))
    models = [item for item in public_names() if isinstance(item[2], type(FlowRun))]
    assert models
    for name, section, model in models:
        columns = names(section) or re.findall(r"`(\w+)`", documented[name])
        assert columns, name
        for column in columns:
            assert hasattr(model, column), f"{name}.{column}"


def test_every_operator_action_has_a_documented_function_with_its_arguments() -> None:
    table = rows(sections(page("flowcontrol.runs"))["Operator actions"])
    assert [row[0].strip("`") for row in table] == list(OPERATOR_ACTIONS)
    for (name, action), row in zip(OPERATOR_ACTIONS.items(), table, strict=True):
        assert callable(getattr(runs, name))
        wanted = {argument.name for argument in action.arguments if argument.for_one}
        assert codes(row[1]) == wanted, name


def test_every_filter_of_a_bulk_operation_is_documented() -> None:
    section = section_of("flowcontrol.runs", "start_bulk_operation")
    assert codes(section) >= bulk.FILTERS
    for action in OPERATOR_ACTIONS.values():
        for argument in action.arguments:
            assert argument.for_one or argument.name in codes(section), argument.name


def test_every_health_issue_is_documented_with_its_urgency() -> None:
    table = rows(section_of("flowcontrol.health", "HealthIssue"))
    documented = {row[0].strip("`"): row[1] == "yes" for row in table}
    assert documented == {code: kind.is_urgent for code, kind in health.ISSUE_KINDS.items()}


def test_every_reason_code_is_documented() -> None:
    assert names(sections(read("reference/runs.md"))["Reason codes"]) == list(TEXTS)


def test_every_operation_on_a_flow_is_documented() -> None:
    assert names(section_of("flowcontrol.models", "FlowOperation")) == FlowOperation.values


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
    documented = entries(read("reference/command.md"))
    assert set(documented) == set(subcommands.choices)
    for name, subparser in subcommands.choices.items():
        for option in subparser._actions:
            if set(option.option_strings) & parser._option_string_actions.keys():
                continue  # Django's own, and --help.
            wanted = option.option_strings[-1] if option.option_strings else option.dest
            assert wanted in codes(documented[name]), f"{name}: {wanted}"


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


def test_the_bounds_of_a_file_are_those_of_the_import() -> None:
    table = rows(sections(read("reference/document.md"))["Files"])
    limits = [bounds.FILE_BYTES, bounds.FILE_EVENTS, bounds.FILE_DEPTH, bounds.FILE_ITEMS]
    assert [int(row[1]) for row in table] == limits


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
        ("reference/triggers.md", "Why a trigger started no run", Refusal),
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
    table = rows(sections(read("reference/runs.md"))["Operator actions"])
    assert [row[0].strip("`") for row in table] == list(OPERATOR_ACTIONS)
    for (name, action), row in zip(OPERATOR_ACTIONS.items(), table, strict=True):
        written = set(re.sub(r"\(.*?\)", "", row[1]).replace(" ", "").split(","))
        assert written == {status.value for status in action.statuses}, name
        if Status.DONE in action.statuses:
            only_errored = action.outcomes == {Outcome.ERRORED}
            assert ("done (errored only)" in row[1]) == only_errored, name


def test_every_filter_tag_and_name_of_expressions_is_documented() -> None:
    page = sections(read("reference/expressions.md"))
    assert set(FILTERS) <= codes(page["Filters"])
    assert set(TAGS) <= codes(page["Templates"])
    assert set(names(page["Names"])) == RESERVED_NAMES


def test_the_bounds_of_expressions_are_those_of_the_sandbox() -> None:
    written = [int(row[1]) for row in rows(sections(read("reference/expressions.md"))["Bounds"])]
    assert written == [
        bounds.EXPRESSION_CHARACTERS,
        bounds.TEMPLATE_CHARACTERS,
        bounds.EXPRESSION_NESTING,
        bounds.EXPRESSION_OPERATORS,
        bounds.FILTER_CHARACTERS,
        bounds.FILTER_ITEMS,
        bounds.NUMBER_DIGITS,
        bounds.EVALUATION_STEPS,
        bounds.RENDER_ITERATIONS,
        bounds.RENDER_CHARACTERS,
    ]


def test_the_documented_size_of_a_state_is_the_one_in_force() -> None:
    assert State().max_bytes == Settings().STATE_MAX_BYTES
