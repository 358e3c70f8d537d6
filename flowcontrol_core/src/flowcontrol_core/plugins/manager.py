"""The plugin manager: loads each plugin alone, so that a broken one harms only itself."""

from __future__ import annotations

import importlib
import inspect
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final

import pluggy

from flowcontrol_core.actions.registry import Registry, registry
from flowcontrol_core.actions.secrets import secret_of_site
from flowcontrol_core.errors import RegistrationError, raise_interruption
from flowcontrol_core.plugins import hookspecs, reports
from flowcontrol_core.plugins.catalogues import add_catalogue
from flowcontrol_core.plugins.discovery import PluginSource, find_plugins
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus, Rules
from flowcontrol_core.suggest import did_you_mean

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class PluginManager:
    """Finds plugins, loads each alone, and reports what became of it.

    ``find`` returns the plugins to load; by default those of the installed distributions.
    """

    def __init__(
        self, target: Registry, find: Callable[[], Iterable[PluginSource]] = find_plugins
    ) -> None:
        self._registry = target
        self._find = find
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._pluggy.add_hookspecs(hookspecs)
        self._hooks = [name for name in dir(hookspecs) if self._is_hook(name)]
        self._lock = threading.RLock()
        self._loaded = False
        #: One report for each plugin, in the order of their names: what became of it when it was
        #: loaded.
        self.reports: tuple[PluginReport, ...] = ()

    def load(self) -> None:
        """Load all plugins, once in a process; to be called when Django's apps are ready.

        Never raises because of a plugin: what went wrong is in ``reports`` and in the log.
        """
        with self._lock:
            if self._loaded:
                return
            # Set first: a plugin that calls load() while it is imported returns at once.
            self._loaded = True
            loaded = self._load_all()
            self.reports += tuple(self._make_ready(source, report) for source, report in loaded)

    def add_module(self, module: ModuleType, name: str) -> PluginReport:
        """Load a module as the plugin ``name``, for tests, and return its report."""
        with self._lock:
            source = PluginSource(name, module.__name__)
            report = self._make_ready(source, self._load(source, Rules(), module))
            self.reports += (report,)
            return report

    def secret(self, name: str) -> str | None:
        """Return the value of a secret: that of a plugin, or else of the site; None for none.

        Raises what a plugin raises.
        """
        answer: str | None = self._pluggy.hook.flowcontrol_secret(name=name)
        return secret_of_site(name) if answer is None else answer

    def _load_all(self) -> list[tuple[PluginSource, PluginReport]]:
        try:
            sources = tuple(self._find())
            rules = reports.rules_for(sources)
        except BaseException as error:  # noqa: BLE001  (a site without plugins beats no site)
            raise_interruption(error)
            nowhere = PluginSource("(discovery)", "")
            return [(nowhere, reports.report_broken(nowhere, error))]
        self._registry.reserve(rules.owners)
        return [(source, self._load(source, rules)) for source in sources]

    def _load(
        self, source: PluginSource, rules: Rules, module: ModuleType | None = None
    ) -> PluginReport:
        """Import a plugin and register it; on any error nothing of it stays registered."""
        before = self._registry.snapshot()
        try:
            refused = reports.find_refusal(source, rules)
            if refused is not None:
                return refused
            _check_source(source)
            return self._register(source, module or importlib.import_module(source.module))
        except BaseException as error:  # noqa: BLE001  (what a plugin raises harms only itself)
            self._registry.restore(before)
            raise_interruption(error)
            return reports.report_broken(source, error)

    def _register(self, source: PluginSource, module: ModuleType) -> PluginReport:
        self._check_unused(source, module)
        self._check_hooks(module)
        try:
            self._pluggy.register(module, source.name)
            report = self._fill_registry(source, module)
        except BaseException:
            if self._pluggy.has_plugin(source.name):
                self._pluggy.unregister(name=source.name)
            raise
        if not source.app:
            add_catalogue(module)
        return report

    def _fill_registry(self, source: PluginSource, module: ModuleType) -> PluginReport:
        origin = {"plugin": source.name, "distribution": source.distribution}
        actions = self._collect(module, "flowcontrol_actions")
        triggers = self._collect(module, "flowcontrol_triggers")
        filters = self._collect(module, "flowcontrol_filters")
        return reports.make_report(
            source,
            PluginStatus.ACTIVE,
            actions=tuple(self._registry.add_action(each, **origin).key for each in actions),
            triggers=tuple(self._registry.add_trigger(each, **origin).key for each in triggers),
            filters=tuple(self._registry.add_filter(each, plugin=source.name) for each in filters),
        )

    def _make_ready(self, source: PluginSource, report: PluginReport) -> PluginReport:
        """Call the plugin's ``flowcontrol_ready``; unregister the plugin if that fails."""
        module: ModuleType | None = self._pluggy.get_plugin(source.name)
        if report.status is not PluginStatus.ACTIVE or module is None:
            return report
        before = self._registry.snapshot()
        try:
            self._call(module, "flowcontrol_ready")
        except BaseException as error:  # noqa: BLE001  (what a plugin raises harms only itself)
            self._registry.restore(before)
            raise_interruption(error)
            self._registry.remove({*report.actions, *report.triggers, *report.filters})
            self._pluggy.unregister(name=source.name)
            return reports.report_broken(source, error)
        return report

    def _collect(self, module: ModuleType, hook: str) -> list[Any]:
        """Return all that the plugin's implementations of a hook list."""
        where = f"{hook}() in {module.__name__}"
        answers = self._call(module, hook)
        callers = self._pluggy.get_hookcallers(module) or []
        # Pluggy leaves out an answer that is None: the forgotten ``return``.
        if not answers and any(caller.name == hook for caller in callers):
            raise RegistrationError(f"{where} returns nothing: return a list.")
        for answer in answers:
            if isinstance(answer, str | type) or not isinstance(answer, Iterable):
                raise RegistrationError(f"{where} returns {answer!r}: return a list.")
        return [item for answer in answers for item in answer]

    def _call(self, module: ModuleType, hook: str) -> list[Any]:
        """Call the implementations of a hook in one plugin only."""
        others = self._pluggy.get_plugins() - {module}
        answers: list[Any] = self._pluggy.subset_hook_caller(hook, others)()
        return answers

    def _check_unused(self, source: PluginSource, module: ModuleType) -> None:
        holder = self._pluggy.get_plugin(source.name)
        if holder is not None:
            raise RegistrationError(
                f"The plugin name {source.name!r} is used twice: by {holder.__name__} and by "
                f"{module.__name__}."
            )
        other = self._pluggy.get_name(module)
        if other is not None:
            raise RegistrationError(
                f"The module {module.__name__} is the plugin {other!r} already; the entry point "
                f"{source.name!r} must name a module of its own."
            )

    def _check_hooks(self, module: ModuleType) -> None:
        """Refuse hooks that would silently do nothing, or change what other plugins do."""
        found = False
        for name in dir(module):
            options = self._pluggy.parse_hookimpl_opts(module, name)
            if options is not None:
                _check_hook(module, name, dict(options), self._hooks)
                found = True
            elif name in self._hooks:
                raise RegistrationError(
                    f"{name} in {module.__name__} is not decorated: put @flowcontrol.hookimpl "
                    "above it."
                )
        if not found:
            raise RegistrationError(
                f"{module.__name__} implements no hook: define one of {', '.join(self._hooks)} "
                "and put @flowcontrol.hookimpl above it."
            )

    def _is_hook(self, name: str) -> bool:
        return self._pluggy.parse_hookspec_opts(hookspecs, name) is not None


def _check_source(source: PluginSource) -> None:
    if not _NAME.fullmatch(source.name):
        raise RegistrationError(
            f"The entry point name {source.name!r} of {source} is the first part of keys: use "
            "lower-case letters, digits and underscores, starting with a letter."
        )
    if not _MODULE.fullmatch(source.module):
        raise RegistrationError(
            f"The entry point {source.name!r} must name a module of hooks "
            f"(package.module), not {source.module!r}."
        )


def _check_hook(
    module: ModuleType, name: str, options: Mapping[str, Any], known: list[str]
) -> None:
    where = f"{name} in {module.__name__}"
    hook = options.get("specname") or name
    if hook not in known and not options.get("optionalhook"):
        hint = did_you_mean(hook, known, f"The hooks are {', '.join(known)}.")
        raise RegistrationError(f"{where} implements the unknown hook {hook}. {hint}")
    if options.get("wrapper") or options.get("hookwrapper"):
        raise RegistrationError(f"{where} is a wrapper: hooks of Flowcontrol take none.")
    if inspect.iscoroutinefunction(getattr(module, name)):
        raise RegistrationError(f"{where} is asynchronous: define it with `def`.")


#: The plugins of this process.
plugin_manager: Final = PluginManager(registry)
