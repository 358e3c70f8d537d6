"""A step bound to its action: what the engine executes and the editor checks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig, bind, read_config
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.errors import (
    ConfigError,
)


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
