"""What became of a plugin, why, and what to do about it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from traceback import TracebackException
from typing import Final

from django.apps import AppConfig, apps

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import RegistrationError
from flowcontrol_core.plugins.discovery import (
    CORE,
    DISABLE_VARIABLE,
    PluginSource,
    disabled_by_environment,
    incompatibility,
    split_names,
)

logger = logging.getLogger("flowcontrol.plugins")

_MODEL_WITHOUT_APP: Final = re.compile(
    r"Model class (\S+) doesn't declare an explicit app_label and isn't in an application"
)


class PluginStatus(Enum):
    """What became of a plugin."""

    ACTIVE = "active"
    DISABLED = "disabled"
    INCOMPATIBLE = "incompatible"
    CONFLICT = "conflict"
    FAILED = "failed"
    NEEDS_APP = "needs-app"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """What became of a plugin.

    ``reason`` and ``remedy`` are sentences, empty if the plugin is active; ``traceback`` is the
    text of the error's traceback, if there was one; ``actions`` and ``triggers`` are keys.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: PluginStatus
    reason: str = ""
    traceback: str = ""
    remedy: str = ""
    actions: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()


def active(
    source: PluginSource, actions: tuple[str, ...], triggers: tuple[str, ...]
) -> PluginReport:
    """Report a plugin that is loaded."""
    return _report(source, PluginStatus.ACTIVE, actions=actions, triggers=triggers)


def refusal(
    source: PluginSource,
    disabled: Mapping[str, str],
    conflicts: Mapping[str, tuple[PluginSource, ...]],
) -> PluginReport | None:
    """Report why a plugin is not even imported; ``None`` if nothing speaks against it.

    ``disabled`` and ``conflicts`` are the answers of ``disabled_names`` and ``find_conflicts``.
    """
    if source.name in disabled:
        place = disabled[source.name]
        return _report(
            source,
            PluginStatus.DISABLED,
            reason=f"It is disabled by {place}.",
            remedy=f"Take {source.name!r} out of {place} to use it.",
        )
    report = _conflict(source, conflicts) or _incompatible(source) or _app_is_missing(source)
    if report is not None:
        logger.warning("The plugin %r was not loaded. %s", source.name, report.reason)
    return report


def broken(source: PluginSource, error: BaseException) -> PluginReport:
    """Report a plugin that raised, and log it with its traceback."""
    details = TracebackException.from_exception(error)
    text = " ".join(str(details).split())
    model = _MODEL_WITHOUT_APP.search(text) if isinstance(error, RuntimeError) else None
    named = isinstance(error, RegistrationError)
    reason = text if named else f"{type(error).__name__}: {text}".rstrip(": ")
    logger.error(
        "The plugin %r (%s) was not loaded. %s", source.name, source, reason, exc_info=error
    )
    return _report(
        source,
        PluginStatus.NEEDS_APP if model else PluginStatus.FAILED,
        reason=reason,
        remedy=_add_app(source, model[1]) if model else _do_without(source),
        traceback="".join(details.format()),
    )


def disabled_names() -> dict[str, str]:
    """Give the names of the disabled plugins, each with the place that says so."""
    # A single string is an easy mistake in a settings file, and clear enough.
    setting: object = get_settings().DISABLE_PLUGINS
    names = split_names(setting) if isinstance(setting, str) else get_settings().DISABLE_PLUGINS
    by_setting = dict.fromkeys(names or (), 'the setting FLOWCONTROL["DISABLE_PLUGINS"]')
    variable = f"the environment variable {DISABLE_VARIABLE}"
    return by_setting | dict.fromkeys(disabled_by_environment(), variable)


def _conflict(
    source: PluginSource, conflicts: Mapping[str, tuple[PluginSource, ...]]
) -> PluginReport | None:
    rivals = conflicts.get(source.name)
    if rivals is None:
        return None
    everyone = " and ".join(str(each) for each in rivals)
    distributions = " or ".join(dict.fromkeys(each.distribution for each in rivals))
    return _report(
        source,
        PluginStatus.CONFLICT,
        reason=f"The plugin name {source.name!r} is claimed by {everyone}; none is loaded.",
        remedy=f"Uninstall {distributions}.",
    )


def _incompatible(source: PluginSource) -> PluginReport | None:
    reason = incompatibility(source)
    if not reason:
        return None
    return _report(
        source,
        PluginStatus.INCOMPATIBLE,
        reason=reason,
        remedy=f"Install versions of {source.distribution} and {CORE} that fit each other. "
        + _do_without(source),
    )


def _app_is_missing(source: PluginSource) -> PluginReport | None:
    if not source.app or any(_is_app(config, source.app) for config in apps.get_app_configs()):
        return None
    return _report(
        source,
        PluginStatus.NEEDS_APP,
        reason=f"Its app {source.app} is not in INSTALLED_APPS.",
        remedy=_add_app(source),
    )


def _is_app(config: AppConfig, entry: str) -> bool:
    """Say whether an installed app is the one that an entry of INSTALLED_APPS would give.

    A project may have replaced the AppConfig by one of its own for the same package.
    """
    classes = (f"{each.__module__}.{each.__qualname__}" for each in type(config).__mro__)
    packages = (config.name, f"{config.name}.apps")
    return entry == config.name or entry.rpartition(".")[0] in packages or entry in classes


def _add_app(source: PluginSource, model: str = "") -> str:
    """Say how to install the app of a plugin, or the one that a model belongs to."""
    package = model.rpartition(".")[0].partition(".models")[0]
    own = source.app and (not model or f"{source.app}.".startswith(f"{package}."))
    if own:
        return f"Add {source.app} to INSTALLED_APPS through flowcontrol.plugin_apps()."
    return f"Add {package} to INSTALLED_APPS. {_do_without(source)}"


def _do_without(source: PluginSource) -> str:
    uninstall = f" or uninstall {source.distribution}" if source.distribution else ""
    return f"Put {source.name!r} into {DISABLE_VARIABLE}{uninstall}."


def _report(
    source: PluginSource,
    status: PluginStatus,
    *,
    reason: str = "",
    traceback: str = "",
    remedy: str = "",
    actions: tuple[str, ...] = (),
    triggers: tuple[str, ...] = (),
) -> PluginReport:
    return PluginReport(
        name=source.name,
        distribution=source.distribution,
        version=source.version,
        module=source.module,
        status=status,
        reason=reason,
        traceback=traceback,
        remedy=remedy,
        actions=actions,
        triggers=triggers,
    )
