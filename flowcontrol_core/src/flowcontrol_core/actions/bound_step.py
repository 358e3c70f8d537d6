"""A step bound to its action: what the engine executes and the editor checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import (
    BoundConfig,
    bind,
    read_config,
    secrets_of,
    upgraded_config,
)
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.tables import require_migrated


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
    #: The names of the secrets that its configuration refers to.
    secrets: frozenset[str] = frozenset()


def bind_step(step: Step, zone: tzinfo, source: Registry = registry) -> BoundStep:
    """Bind a step to its action.

    Raises UnknownActionError, UnmigratedError, ConfigError where the configuration does not
    validate or comes from a newer version of the plugin, and ExpressionError.
    """
    entry = source.get_action(step.action)
    action = entry.action
    require_migrated(action)
    values = read_config(action.Config, upgraded_config(step, action), zone)
    config = bind(action.Config, values)
    return BoundStep(
        step=step,
        key=entry.key,
        action=action,
        config=config,
        effects=action.effects,
        branch=next(iter(action.branch_names()), None),
        timeout=step.timeout or action.timeout,
        secrets=frozenset(secrets_of(config).values()),
    )
