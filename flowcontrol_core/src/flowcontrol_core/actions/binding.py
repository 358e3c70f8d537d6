"""A step bound to its action: what the engine executes and the editor checks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig, bind, read_config
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.engine.program import Program
from flowcontrol_core.errors import (
    ConfigError,
    DirectiveError,
    UnknownActionError,
)
from flowcontrol_core.expressions import Expression, compile_expression


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A step with its action and its compiled configuration."""

    step: Step
    key: str
    action: BaseAction
    config: BoundConfig
    effects: Effects
    branch: str | None
    timeout: float | None


def bind_step(step: Step, zone: tzinfo, source: Registry = registry) -> BoundStep:
    """Bind a step to its action.

    Raises UnknownActionError, ConfigError where the configuration does not validate or comes from
    a newer version of the plugin, and ExpressionError.
    """
    entry = source.get_action(step.action)
    action = entry.action
    values = read_config(action.Config, upgraded_config(step, action), zone)
    names = action.branch_names()
    return BoundStep(
        step=step,
        key=entry.key,
        action=action,
        config=bind(action.Config, values),
        effects=action.effects,
        branch=names[0] if names else None,
        timeout=step.timeout or action.timeout,
    )


def upgraded_config(step: Step, action: BaseAction) -> dict[str, Any]:
    """Give the stored configuration of a step in the action's present version.

    Raises ConfigError where it was stored by a newer version, or the upgrade fails.
    """
    if step.config_version == action.config_version:
        return dict(step.config)
    if step.config_version > action.config_version:
        raise ConfigError(
            f"The configuration was stored by a newer version ({step.config_version}) of the "
            f"action {step.action!r} than the installed one ({action.config_version}). "
            "Upgrade its plugin."
        )
    try:
        upgraded: Any = action.upgrade_config(deepcopy(dict(step.config)), step.config_version)
    except Exception as error:
        raise ConfigError(
            f"upgrade_config() of {step.action!r} failed on version {step.config_version}: "
            f"{error!r}. Correct the plugin."
        ) from error
    if not isinstance(upgraded, dict):
        raise ConfigError(
            f"upgrade_config() of {step.action!r} gave {upgraded!r} for version "
            f"{step.config_version}; it has to give the upgraded dictionary. Correct the plugin."
        )
    return upgraded


@dataclass(slots=True)
class CompiledFlow:
    """A document, compiled once: the program, the guard, and the steps as they are needed.

    Steps are bound when they are first executed, so that a missing plugin blocks the runs that
    reach its step and no others. What is bound is forgotten when the registry changes.
    """

    document: Document
    program: Program
    zone: tzinfo
    guard: Expression | None
    source: Registry = registry
    _bound: dict[str, BoundStep] = field(default_factory=dict)
    _loops: dict[str, bool] = field(default_factory=dict)
    _generation: int = -1

    def bound(self, step_id: str) -> BoundStep:
        """Give a step of the program, bound.

        Raises as ``bind_step`` does, and DirectiveError where the program has no such step.
        """
        if self._generation != self.source.generation:
            self._bound, self._loops = {}, {}
            self._generation = self.source.generation
        found = self._bound.get(step_id)
        if found is None:
            if step_id not in self.program.nodes:
                raise DirectiveError(f"The version of this run has no enabled step {step_id!r}.")
            step = self.program.nodes[step_id].step
            found = self._bound[step_id] = bind_step(step, self.zone, self.source)
        return found

    def is_loop(self, step_id: str) -> bool:
        """Say whether the action of a step is a loop; a missing action is none."""
        found = self._loops.get(step_id)
        if found is None:
            try:
                key = self.program.nodes[step_id].step.action
                found = self.source.get_action(key).action.is_loop
            except UnknownActionError:
                return False
            self._loops[step_id] = found
        return found


def compile_flow(document: Document, source: Registry = registry) -> CompiledFlow:
    """Compile a valid document; raises ExpressionError for a bad guard."""
    zone = ZoneInfo(document.time_zone) if document.time_zone else timezone.get_default_timezone()
    guard = compile_expression(document.guard) if document.guard else None
    return CompiledFlow(document, Program.compile(document), zone, guard, source)
