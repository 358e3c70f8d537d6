"""What would fail when one step runs. The code of plugins is asked, and not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, cast

from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import Model
from django.utils.translation import gettext

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.config import (
    BoundConfig,
    ComputedField,
    Evaluable,
    read_config,
    secrets_of,
    unknown_fields,
    upgraded_config,
)
from flowcontrol_core.actions.fields import describe_error
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.secrets import resolve
from flowcontrol_core.document.reader import Reading, child_path
from flowcontrol_core.document.tree import Step, Visit
from flowcontrol_core.errors import (
    ConfigError,
    ExpressionError,
    MissingSecretError,
    Problem,
    UnknownActionError,
    UnmigratedError,
    raise_interruption,
)
from flowcontrol_core.expressions import check_names, compile_expression
from flowcontrol_core.expressions.name_checks import HasPlaces
from flowcontrol_core.flows.config_forms import known_action
from flowcontrol_core.models import Flow
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.tables import explain, require_migrated
from flowcontrol_core.zones import in_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A step, where it stands, and what is known about its flow."""

    visit: Visit
    zone: tzinfo
    object_type: str
    model: type[Model] | None

    def problem(self, message: str, name: str = "") -> Problem:
        """Return a problem of the step, or of one field of its configuration."""
        path = child_path(f"{self.visit.path}.config", name) if name else self.visit.path
        return Problem(path, message, self.visit.step.id, name)


_Bound = tuple[BoundConfig, Mapping[str, Evaluable]]


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step whose configuration can be read, with its action."""

    question: Question
    action: BaseAction
    config: BoundConfig
    computed: Mapping[str, Evaluable]

    def ask(self, method: str) -> Reading[list[str]]:
        """Call a method of the action that returns texts; what it raises becomes a problem."""
        call: Callable[[BoundConfig], Iterable[str]] = getattr(self.action, method)
        try:
            with in_zone(self.question.zone):
                return [str(text) for text in call(self.config) if text]
        except BaseException as error:  # noqa: BLE001 - a plugin's code may raise anything
            raise_interruption(error)
            yield _broken(self.question, f"{method}()", error)
            return []


def check_step(
    question: Question, cleaned: Mapping[str, Any] | None = None
) -> Reading[CheckedStep | None]:
    """Check a step by itself; without a CheckedStep it has problems.

    ``cleaned`` are the values of its form where that was bound already.
    """
    step, path = question.visit.step, question.visit.path
    try:
        action = registry.get_action(step.action).action
    except UnknownActionError as error:
        yield Problem(f"{path}.action", str(error), step.id, "action")
        return None
    yield from _branch_problems(question, action)
    yield from _object_problems(question, action)
    bound = yield from _bind(question, action, cleaned)
    if bound is None:
        return None
    checked = CheckedStep(question, action, *bound)
    for message in (yield from checked.ask("check")):
        yield question.problem(message)
    yield from _loop_problems(checked)
    return checked


def check_triggers(steps: Sequence[CheckedStep]) -> Reading[frozenset[str]]:
    """Return the keys of the triggers that steps wait for; those not registered are problems."""
    text = gettext(
        "It waits for the trigger %(key)r, which is not registered. Choose another one, or install "
        "the plugin it belongs to."
    )
    waited = yield from _asked(steps, "waits_for")
    for question, key in waited:
        if key not in registry.triggers:
            yield question.problem(text % {"key": key})
    return frozenset(key for _, key in waited)


def check_variables(steps: Sequence[CheckedStep]) -> Reading[None]:
    """Check that no step has a variable of a step around it: it would hide it."""
    variables: dict[str, set[str]] = {}
    text = gettext(
        "Its variable %(name)r is the one of the step %(step)r around it too. Choose another name."
    )
    for step in steps:
        visit = step.question.visit
        own = variables[visit.step.id] = {*(yield from step.ask("sets_variables"))}
        for around in visit.ancestors:
            for name in sorted(own & variables.get(around.id, set())):
                yield step.question.problem(text % {"name": name, "step": around.id})


def check_flows(steps: Sequence[CheckedStep], flow: Flow | None) -> Reading[None]:
    """Check that the flows that steps start exist; one query."""
    started = yield from _asked(steps, "starts_flows")
    wanted = {key for _, key in started} - {flow.key if flow else None}
    found = Flow.objects.filter(key__in=wanted).values_list("key", flat=True) if wanted else ()
    text = gettext("It starts the flow %(key)r, which does not exist. Create or import it.")
    missing = wanted - {*found}
    for question, key in started:
        if key in missing:
            yield question.problem(text % {"key": key})


def _asked(steps: Sequence[CheckedStep], method: str) -> Reading[list[tuple[Question, str]]]:
    answers = []
    for step in steps:
        answers += [(step.question, key) for key in (yield from step.ask(method))]
    return answers


def expression_problems(text: str, model: type[Model] | None, **known: Any) -> list[str]:
    """Return what is wrong with an expression and the names in it; an empty one is fine.

    ``known`` is for ``check_names``.
    """
    try:
        compiled = compile_expression(text) if text else None
    except ExpressionError as error:
        return [describe_error(error)]
    return check_names(compiled, model=model, **known) if compiled else []


def name_problems(
    question: Question, computed: Mapping[str, Evaluable], **known: Any
) -> Iterator[Problem]:
    """Yield what is unknown of the names in computed values; ``known`` is for ``check_names``."""
    for name, evaluable in computed.items():
        # Computed values of other kinds may have names too, and check_names needs nothing else.
        if hasattr(evaluable, "places"):
            messages = check_names(cast("HasPlaces", evaluable), **known)
            yield from (question.problem(message, name) for message in messages)


def is_loop(step: Step, *, if_missing: bool) -> bool:
    """Return whether the action of a step is a loop."""
    action = known_action(step.action)
    return action.is_loop if action else if_missing


def _branch_problems(question: Question, action: BaseAction) -> Iterator[Problem]:
    offered, step = action.branch_names(), question.visit.step
    text = gettext(
        "The action %(action)r has no branch %(branch)r; move the steps in it elsewhere. "
        "Possible: %(possible)s."
    )
    for branch, steps in step.branches.items():
        if steps and branch not in offered:
            possible = ", ".join(offered) or gettext("none")
            words = {"action": step.action, "branch": branch, "possible": possible}
            path = child_path(f"{question.visit.path}.branches", branch)
            yield Problem(path, text % words, step.id, "branches")


def _object_problems(question: Question, action: BaseAction) -> Iterator[Problem]:
    wanted, given = action.object_type.lower(), question.object_type
    if not wanted or wanted == given:
        return
    text = gettext(
        "The action works on objects of %(wanted)r only, and the flow is about %(given)s. Choose "
        "another action, or that model for the flow."
    )
    about = repr(given) if given else gettext("no model")
    yield question.problem(text % {"wanted": wanted, "given": about})


def _loop_problems(step: CheckedStep) -> Iterator[Problem]:
    try:
        needs_loop = step.action.needs_loop(step.config)
    except BaseException as error:  # noqa: BLE001 - a plugin's code may raise anything
        raise_interruption(error)
        yield _broken(step.question, "needs_loop()", error)
        return
    # A missing action, which is a problem itself, may be the loop.
    around = step.question.visit.ancestors
    if needs_loop and not any(is_loop(ancestor, if_missing=True) for ancestor in around):
        text = gettext(
            "The step leaves a loop, but there is no loop around it. Move it into one, or "
            "configure it to go to its parent."
        )
        yield step.question.problem(text)


def _bind(
    question: Question, action: BaseAction, cleaned: Mapping[str, Any] | None
) -> Reading[_Bound | None]:
    """Read and compile the configuration, naming the field of each problem."""
    try:
        require_migrated(action)
        stored = upgraded_config(question.visit.step, action)
        form = action.Config
        values = read_config(form, stored, question.zone) if cleaned is None else cleaned
    except ConfigError as error:
        yield from _config_problems(question, error)
        return None
    except UnmigratedError as error:
        yield question.problem(str(error))
        return None
    except BaseException as error:  # noqa: BLE001 - a plugin's form may raise anything
        raise_interruption(error)
        yield _broken(question, gettext("form"), error)
        return None
    for name in unknown_fields(action.Config, stored):
        text = gettext("The form has no such field any more. Save the step again.")
        yield question.problem(text, name)
    return (yield from _compile(question, action, values))


def _compile(
    question: Question, action: BaseAction, values: Mapping[str, Any]
) -> Reading[_Bound | None]:
    """Compile the computed values; the first that cannot be compiled ends it."""
    computed: dict[str, Evaluable] = {}
    failed, name = None, ""
    try:
        for name, field in action.Config.base_fields.items():
            if isinstance(field, ComputedField) and name in values:
                evaluable = field.compile_value(values[name], values)
                computed |= {name: evaluable} if evaluable is not None else {}
    except ExpressionError as error:
        failed = question.problem(describe_error(error), name)
    except BaseException as error:  # noqa: BLE001 - a field of a plugin's own may raise anything
        raise_interruption(error)
        failed = _broken(question, gettext("field %(name)r") % {"name": name}, error)
    yield from name_problems(question, computed, model=question.model)
    if failed:
        yield failed
        return None
    config = BoundConfig(values, computed)
    yield from _secret_problems(question, config)
    return config, computed


def _secret_problems(question: Question, config: BoundConfig) -> Iterator[Problem]:
    for field, name in secrets_of(config).items():
        try:
            resolve([name], plugin_manager.secret)
        except MissingSecretError as error:
            yield question.problem(str(error), field)


def _config_problems(question: Question, error: ConfigError) -> Iterator[Problem]:
    if not error.errors:
        step = question.visit.step
        yield Problem(f"{question.visit.path}.config", str(error), step.id)
    for name, messages in error.errors.items():
        for message in messages:
            yield question.problem(message, "" if name == NON_FIELD_ERRORS else name)


def _broken(question: Question, what: str, error: BaseException) -> Problem:
    if found := explain(error):
        return question.problem(str(found))
    text = gettext(
        "The %(what)s of the action %(action)r raised %(type)s: %(error)s. Correct or upgrade its "
        "plugin."
    )
    words = {"what": what, "action": question.visit.step.action, "error": error}
    return question.problem(text % {**words, "type": type(error).__name__})
