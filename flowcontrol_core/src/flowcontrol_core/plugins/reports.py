"""What became of a plugin, why, and what to do about it.

Reports are made when the site starts, for logs, checks and the command line too: they are English.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from traceback import TracebackException
from typing import Any, Final

from django.apps import AppConfig, apps
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import RegistrationError, raise_interruption
from flowcontrol_core.plugins import discovery
from flowcontrol_core.plugins.discovery import PluginSource
from flowcontrol_core.tables import Unmigrated, app_of, find_unmigrated

logger = logging.getLogger("flowcontrol.plugins")

_MODEL_WITHOUT_APP: Final = re.compile(
    r"Model class (\S+) doesn't declare an explicit app_label and isn't in an application"
)


class PluginStatus(TextChoices):
    """What became of a plugin."""

    ACTIVE = "active", _("active")
    DISABLED = "disabled", _("disabled")
    INCOMPATIBLE = "incompatible", _("incompatible")
    CONFLICT = "conflict", _("conflict")
    FAILED = "failed", _("failed")
    NEEDS_APP = "needs-app", _("needs an app")
    NEEDS_MIGRATION = "needs-migration", _("needs a migration")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """What became of a plugin.

    ``reason`` and ``remedy`` are sentences, empty if the plugin is active; ``traceback`` is the
    text of the error's traceback, if there was one; ``actions``, ``triggers`` and ``filters``
    (functions of expressions too) are keys; ``app`` is the label of its Django app, if it has one.
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
    filters: tuple[str, ...] = ()
    app: str = ""

    @property
    def is_broken(self) -> bool:
        """Return whether the plugin cannot be used, although it is not disabled."""
        return self.status not in (PluginStatus.ACTIVE, PluginStatus.DISABLED)

    @property
    def is_loaded(self) -> bool:
        """Return whether the actions and triggers of the plugin are registered."""
        return self.status in (PluginStatus.ACTIVE, PluginStatus.NEEDS_MIGRATION)


def make_report(source: PluginSource, status: PluginStatus, **facts: Any) -> PluginReport:
    """Return the report of a plugin; ``facts`` are the fields that it adds to the source."""
    return PluginReport(
        name=source.name,
        distribution=source.distribution,
        version=source.version,
        module=source.module,
        status=status,
        app=_label_of(source),
        **facts,
    )


def with_migrations(reports: Sequence[PluginReport]) -> tuple[PluginReport, ...]:
    """Return reports as things are now: they tell which plugins need a migration.

    Reads the applied migrations, once for each database that plugins have tables in. Where one does
    not answer, the reports are returned as they are.
    """
    labels = [report.app for report in reports if report.app and report.is_loaded]
    try:
        unmigrated = find_unmigrated(labels)
    except BaseException as error:  # noqa: BLE001 - a plugin's code, and any database
        raise_interruption(error)
        return tuple(reports)
    return tuple(_as_migrated(report, unmigrated.get(report.app)) for report in reports)


def _as_migrated(report: PluginReport, unmigrated: Unmigrated | None) -> PluginReport:
    if unmigrated is None or not report.is_loaded:
        return report
    return replace(
        report,
        status=PluginStatus.NEEDS_MIGRATION,
        reason=f"The migrations of its app {unmigrated.app} are not applied ({unmigrated.names}).",
        remedy=f"Run `{unmigrated.command}`.",
    )


def _label_of(source: PluginSource) -> str:
    """Return the label of the app of a plugin: that of its entry point, or around its module."""
    installed = apps.get_app_configs() if source.app else ()
    labels = (config.label for config in installed if _is_app(config, source.app))
    return next(labels, "") or app_of(source.module)


@dataclass(frozen=True, slots=True)
class Rules:
    """What plugins are measured by, each by its name.

    ``disabled`` has the places where it is disabled, ``owners`` the distribution that it belongs
    to, spelled as it is installed, ``claimants`` all plugins of a name that has more than one;
    ``core`` is the version of flowcontrol-core.
    """

    disabled: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    claimants: Mapping[str, Sequence[PluginSource]] = field(default_factory=dict)
    core: str = ""


def rules_for(sources: Sequence[PluginSource]) -> Rules:
    """Return the rules for the plugins that were found."""
    claimants = discovery.find_conflicts(sources)
    sole = {each.name: each.distribution for each in sources if each.name not in claimants}
    owners = sole | get_settings().PLUGIN_OWNERS | discovery.OWNERS
    spelled = {discovery.canonical_name(each.distribution): each.distribution for each in sources}
    as_installed = {
        name: spelled.get(discovery.canonical_name(owner), owner) for name, owner in owners.items()
    }
    version = discovery.installed_version(discovery.CORE)
    return Rules(disabled_names(), as_installed, claimants, version)


def find_refusal(source: PluginSource, rules: Rules) -> PluginReport | None:
    """Return the report of a plugin that is not even imported, and log it; ``None``: import it."""
    for status, reason, remedy in _refusals(source, rules):
        if status is not PluginStatus.DISABLED:
            logger.warning("The plugin %r was not loaded. %s", source.name, reason)
        return make_report(source, status, reason=reason, remedy=remedy)
    return None


def report_broken(source: PluginSource, error: BaseException) -> PluginReport:
    """Return the report of a plugin that raised, with its traceback, and log it in one line."""
    details = TracebackException.from_exception(error)
    text = " ".join(str(details).split())
    model = _MODEL_WITHOUT_APP.search(text) if isinstance(error, RuntimeError) else None
    named = isinstance(error, RegistrationError)
    reason = text if named else f"{type(error).__name__}: {text}".rstrip(": ")
    # One line: where cron starts a command each minute, a traceback would be a mail each minute.
    logger.error("The plugin %r (%s) was not loaded. %s", source.name, source, reason)
    status = PluginStatus.NEEDS_APP if model else PluginStatus.FAILED
    remedy = _add_app(source, model[1]) if model else _do_without(source)
    return make_report(
        source, status, reason=reason, remedy=remedy, traceback="".join(details.format())
    )


def disabled_names() -> dict[str, str]:
    """Return the names of the disabled plugins, each with the place where it is disabled."""
    # A single string is an easy mistake in a settings file, and clear enough.
    setting: Any = get_settings().DISABLE_PLUGINS
    names = discovery.split_names(setting) if isinstance(setting, str) else setting
    by_setting = dict.fromkeys(names or (), 'the setting FLOWCONTROL["DISABLE_PLUGINS"]')
    variable = f"the environment variable {discovery.DISABLE_VARIABLE}"
    return by_setting | dict.fromkeys(discovery.disabled_by_environment(), variable)


def _refusals(source: PluginSource, rules: Rules) -> Iterator[tuple[PluginStatus, str, str]]:
    """Yield why a plugin is not imported: the status, the reason and the remedy."""
    owner = rules.owners.get(source.name, "")
    if source.problem:
        remedy = f"Install {source.distribution} anew, or remove it."
        yield PluginStatus.FAILED, source.problem, remedy
    if place := rules.disabled.get(source.name):
        remedy = f"Take {source.name!r} out of {place} to use it."
        yield PluginStatus.DISABLED, f"It is disabled by {place}.", remedy
    if owner and owner != source.distribution:
        reason = f"The plugin name {source.name!r} belongs to {owner}."
        yield PluginStatus.CONFLICT, reason, f"Uninstall {source.distribution}."
    elif not owner and (claimants := rules.claimants.get(source.name)):
        all_of_them = " and ".join(str(each) for each in claimants)
        distributions = " or ".join(dict.fromkeys(each.distribution for each in claimants))
        reason = f"The plugin name {source.name!r} is claimed by {all_of_them}; none is loaded."
        remedy = f'Uninstall {distributions}, or name the owner in FLOWCONTROL["PLUGIN_OWNERS"].'
        yield PluginStatus.CONFLICT, reason, remedy
    if reason := discovery.incompatibility(source, rules.core):
        remedy = f"Install a {source.distribution} and a {discovery.CORE} that fit each other. "
        remedy += _do_without(source)
        yield PluginStatus.INCOMPATIBLE, reason, remedy
    if source.app and not any(_is_app(config, source.app) for config in apps.get_app_configs()):
        reason = f"Its app {source.app} is not in INSTALLED_APPS."
        yield PluginStatus.NEEDS_APP, reason, _add_app(source)


def _is_app(config: AppConfig, entry: str) -> bool:
    """Return whether an installed app is the one that an entry of INSTALLED_APPS would make.

    A project may have replaced the AppConfig by one of its own for the same package.
    """
    classes = (f"{each.__module__}.{each.__qualname__}" for each in type(config).__mro__)
    packages = (config.name, f"{config.name}.apps")
    return entry == config.name or entry.rpartition(".")[0] in packages or entry in classes


def _add_app(source: PluginSource, model: str = "") -> str:
    """Return how to install the app of a plugin, or the one that a model belongs to."""
    package = model.rpartition(".")[0].partition(".models")[0]
    own = source.app and (not model or f"{source.app}.".startswith(f"{package}."))
    if own:
        return f"Add {source.app} to INSTALLED_APPS through plugin_apps()."
    return f"Add {package} to INSTALLED_APPS. {_do_without(source)}"


def _do_without(source: PluginSource) -> str:
    uninstall = f" or uninstall {source.distribution}" if source.distribution else ""
    return f"Put {source.name!r} into {discovery.DISABLE_VARIABLE}{uninstall}."
