"""What would fail when one step runs. The code of plugins is asked, and not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Any, NamedTuple, cast

from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import Model

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.bound_step import upgraded_config
from flowcontrol_core.actions.config import (
    BoundConfig,
    ComputedField,
    Evaluable,
    read_config,
    unknown_fields,
)
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.document.values import child_path
from flowcontrol_core.errors import ConfigError, ExpressionError, Problem, UnknownActionError
from flowcontrol_core.expressions import Expression, check_names
from flowcontrol_core.models import Flow


class Question(NamedTuple):
    """A step, where it stands, and what is known about its flow."""

    step: Step
    path: str
    zone: tzinfo
    object_type: str
    model: type[Model] | None
    inside_loop: bool

    def problem(self, message: str, name: str = "") -> Problem:
        """Give a problem of the step, or of one field of its configuration."""
        path = child_path(f"{self.path}.config", name) if name else self.path
        return Problem(path, message, self.step.id, name)


class CheckedStep(NamedTuple):
    """A step whose configuration can be read, with its action."""

    question: Question
    action: BaseAction
    config: BoundConfig


def check_step(question: Question) -> tuple[list[Problem], CheckedStep | None]:
    """List the problems of a step by itself; without a CheckedStep there are some."""
    try:
        action = registry.get_action(question.step.action).action
    except UnknownActionError as error:
        return [Problem(f"{question.path}.action", str(error), question.step.id, "action")], None
    problems = [*_branch_problems(question, action), *_object_problems(question, action)]
    found, config = _bind(question, action)
    if config is None:
        return problems + found, None
    checked = CheckedStep(question, action, config)
    return problems + found + _answers(checked), checked


def check_triggers(steps: Sequence[CheckedStep]) -> tuple[frozenset[str], list[Problem]]:
    """Give the keys of the triggers that steps wait for, and list those not registered."""
    problems: list[Problem] = []
    waited = [(step.question, key) for step in steps for key in _ask(step, "waits_for", problems)]
    problems += [
        question.problem(
            f"It waits for the trigger {key!r}, which is not registered. Choose another one, or "
            "install the plugin it belongs to."
        )
        for question, key in waited
        if key not in registry.triggers
    ]
    return frozenset(key for _, key in waited), problems


def check_flows(steps: Sequence[CheckedStep], flow: Flow | None) -> list[Problem]:
    """List the flows that steps start and that do not exist; one query."""
    problems: list[Problem] = []
    started = [
        (step.question, key) for step in steps for key in _ask(step, "starts_flows", problems)
    ]
    wanted = {key for _, key in started}
    known = {flow.key} if flow else set()
    if wanted - known:
        known.update(Flow.objects.filter(key__in=wanted).values_list("key", flat=True))
    return problems + [
        question.problem(f"It starts the flow {key!r}, which does not exist. Create or import it.")
        for question, key in started
        if key not in known
    ]


def expression_problem(error: ExpressionError) -> str:
    """Give the message of an error in an expression, with the place."""
    marked = error.source[error.position : error.position + error.length]
    where = f" (at character {error.position + 1}: {marked!r})" if marked else ""
    return f"{error.message}{where}"


def _branch_problems(question: Question, action: BaseAction) -> Iterator[Problem]:
    offered = action.branch_names()
    for branch, steps in question.step.branches.items():
        if steps and branch not in offered:
            message = (
                f"The action {question.step.action!r} has no branch {branch!r}; move the steps "
                f"in it elsewhere. Possible: {', '.join(offered) or 'none'}."
            )
            path = child_path(f"{question.path}.branches", branch)
            yield Problem(path, message, question.step.id, "branches")


def _object_problems(question: Question, action: BaseAction) -> Iterator[Problem]:
    wanted = action.object_type.lower()
    if wanted and wanted != question.object_type:
        about = f"is about {question.object_type!r}" if question.object_type else "has no model"
        yield question.problem(
            f"The action works on objects of {wanted!r} only, but the flow {about}. Choose "
            "another action, or that model for the flow."
        )


def _bind(question: Question, action: BaseAction) -> tuple[list[Problem], BoundConfig | None]:
    """Read and compile the configuration, naming the field of each problem."""
    try:
        stored = upgraded_config(question.step, action)
        values = read_config(action.Config, stored, question.zone)
    except ConfigError as error:
        return _config_problems(question, error), None
    except Exception as error:  # noqa: BLE001 - a plugin's form may raise anything
        return [_broken(question, "form", error)], None
    problems = [
        question.problem("The form has no such field any more. Save the step again.", name)
        for name in unknown_fields(action.Config, stored)
    ]
    computed: dict[str, Evaluable] = {}
    for name, field in _computed_fields(action, values):
        try:
            evaluable = field.compile_value(values[name], values)
        except ExpressionError as error:
            return [*problems, question.problem(expression_problem(error), name)], None
        except Exception as error:  # noqa: BLE001 - nor is a field of a plugin's own trusted
            return [*problems, _broken(question, f"field {name!r}", error)], None
        if evaluable is not None:
            computed[name] = evaluable
            problems += _name_problems(question, name, evaluable)
    return problems, BoundConfig(values, computed)


def _computed_fields(
    action: BaseAction, values: dict[str, Any]
) -> Iterator[tuple[str, ComputedField]]:
    for name, field in action.Config.base_fields.items():
        if isinstance(field, ComputedField) and name in values:
            yield name, field


def _config_problems(question: Question, error: ConfigError) -> list[Problem]:
    if not error.errors:
        return [Problem(f"{question.path}.config", str(error), question.step.id)]
    return [
        question.problem(message, "" if name == NON_FIELD_ERRORS else name)
        for name, messages in error.errors.items()
        for message in messages
    ]


def _name_problems(question: Question, name: str, evaluable: Evaluable) -> list[Problem]:
    if getattr(evaluable, "names", None) is None:
        return []
    # It asks for nothing but the names, which computed values of other kinds have too.
    compiled = cast("Expression", evaluable)
    return [question.problem(text, name) for text in check_names(compiled, model=question.model)]


def _answers(step: CheckedStep) -> list[Problem]:
    """Ask the action itself."""
    problems: list[Problem] = []
    messages = _ask(step, "check", problems)
    problems += [step.question.problem(message) for message in messages]
    try:
        needs_loop = step.action.needs_loop(step.config)
    except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
        return [*problems, _broken(step.question, "needs_loop()", error)]
    if needs_loop and not step.question.inside_loop:
        problems.append(
            step.question.problem(
                "It goes to the nearest loop, but there is no loop around it. Move it into one, "
                "or configure it to go to its parent."
            )
        )
    return problems


def _ask(step: CheckedStep, method: str, problems: list[Problem]) -> list[str]:
    """Call a method of an action that gives texts; what it raises becomes a problem."""
    ask: Callable[[BoundConfig], Iterable[str]] = getattr(step.action, method)
    try:
        return [str(text) for text in ask(step.config) if text]
    except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
        problems.append(_broken(step.question, f"{method}()", error))
        return []


def _broken(question: Question, what: str, error: Exception) -> Problem:
    return question.problem(
        f"The {what} of the action {question.step.action!r} raised {type(error).__name__}: "
        f"{error}. Correct or upgrade its plugin."
    )
