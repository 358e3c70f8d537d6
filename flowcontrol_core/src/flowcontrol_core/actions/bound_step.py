"""A step bound to its action: what the engine executes and the editor checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig, bind, read_config, secrets_of
from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.engine.codec import private_copy
from flowcontrol_core.errors import ConfigError, gettext, raise_interruption
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


def upgraded_config(step: Step, action: BaseAction) -> dict[str, Any]:
    """Return the stored configuration of a step in the action's present version.

    Raises ConfigError where it was stored by a newer version, or the upgrade fails.
    """
    if step.config_version is None or step.config_version == action.config_version:
        return dict(step.config)
    values = {"action": step.action, "version": step.config_version}
    if step.config_version > action.config_version:
        text = gettext(
            "The configuration was stored by a newer version (%(version)d) of the action "
            "%(action)r than the installed one (%(installed)d). Upgrade its plugin."
        )
        raise ConfigError(text % {**values, "installed": action.config_version})
    try:
        upgraded: Any = action.upgrade_config(private_copy(dict(step.config)), step.config_version)
    except BaseException as error:
        raise_interruption(error)
        text = gettext(
            "upgrade_config() of %(action)r failed on version %(version)d: %(error)r. "
            "Correct the plugin."
        )
        raise ConfigError(text % {**values, "error": error}) from error
    if not isinstance(upgraded, dict):
        text = gettext(
            "upgrade_config() of %(action)r returned %(answer)r for version %(version)d; it must "
            "return the upgraded dictionary. Correct the plugin."
        )
        raise ConfigError(text % {**values, "answer": upgraded})
    return upgraded
