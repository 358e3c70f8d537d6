"""The registry: all actions and triggers of a process, by key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django import forms
from django.apps import apps

from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.trigger import Trigger
from flowcontrol_core.errors import RegistrationError, UnknownActionError, UnknownTriggerError

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_BRANCH = re.compile(r"[a-z][a-z0-9_]*")
MAX_KEY_LENGTH = 150
_CONFIG_NAMES = {name for name in dir(BoundConfig) if not name.startswith("_")}


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """A registered action: its key, its one instance, and where it comes from."""

    key: str
    action: BaseAction
    plugin: str
    distribution: str

    @property
    def origin(self) -> str:
        """Name the class and the distribution, for messages."""
        cls = type(self.action)
        source = f" of {self.distribution}" if self.distribution else ""
        return f"{cls.__module__}.{cls.__qualname__}{source}"


@dataclass(frozen=True, slots=True)
class TriggerEntry:
    """A registered trigger, and where it comes from."""

    key: str
    trigger: Trigger
    plugin: str
    distribution: str

    @property
    def origin(self) -> str:
        """Name the trigger and where it comes from, for messages."""
        return f"{self.trigger.label!r} of {self.distribution or f'the app {self.plugin!r}'}"


@dataclass(slots=True)
class _Content:
    actions: dict[str, ActionEntry] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    triggers: dict[str, TriggerEntry] = field(default_factory=dict)

    def copy(self) -> _Content:
        return _Content(dict(self.actions), dict(self.aliases), dict(self.triggers))


class Registry:
    """What plugins and projects have registered; data refers to its keys.

    ``generation`` grows with each change, so that what was compiled against it can be renewed.
    """

    def __init__(self) -> None:
        self._content = _Content()
        self.generation = 0

    @property
    def actions(self) -> Mapping[str, ActionEntry]:
        """Give the actions by key, aliases left out."""
        return MappingProxyType(self._content.actions)

    @property
    def triggers(self) -> Mapping[str, TriggerEntry]:
        """Give the triggers by key."""
        return MappingProxyType(self._content.triggers)

    def get_action(self, key: str) -> ActionEntry:
        """Give the action registered under a key or an alias; raises UnknownActionError."""
        content = self._content
        entry = content.actions.get(key) or content.actions.get(content.aliases.get(key, ""))
        if entry is None:
            raise UnknownActionError(key)
        return entry

    def knows_action(self, key: str) -> bool:
        """Say whether a step with this action can be executed here."""
        return key in self._content.actions or key in self._content.aliases

    def get_trigger(self, key: str) -> Trigger:
        """Give the trigger of a key; raises UnknownTriggerError."""
        try:
            return self._content.triggers[key].trigger
        except KeyError:
            raise UnknownTriggerError(
                f"No trigger {key!r} is registered. Register it with register_trigger(), or "
                "install the plugin it belongs to."
            ) from None

    def add_action(
        self, cls: type[BaseAction], *, plugin: str, distribution: str = ""
    ) -> ActionEntry:
        """Register an action class; raises RegistrationError naming the culprits."""
        _check_action(cls)
        entry = ActionEntry(f"{plugin}.{cls.name}", cls(), plugin, distribution)
        for key in (entry.key, *cls.aliases):
            _check_key(key, entry.origin)
            self._refuse_taken(key, entry)
        self._content.actions[entry.key] = entry
        self._content.aliases.update(dict.fromkeys(cls.aliases, entry.key))
        self.generation += 1
        return entry

    def add_trigger(self, trigger: Trigger, *, plugin: str, distribution: str = "") -> TriggerEntry:
        """Register a trigger; raises RegistrationError where its key is taken or malformed."""
        if not isinstance(trigger, Trigger):
            raise RegistrationError(
                f"The plugin {plugin!r} offers {trigger!r} as a trigger; it has to be an "
                "instance of flowcontrol.registry.Trigger."
            )
        key = f"{plugin}.{trigger.name}"
        _check_key(key, f"the trigger {trigger.label!r} of the plugin {plugin!r}")
        entry = TriggerEntry(key, trigger, plugin, distribution)
        known = self._content.triggers.get(key)
        if known is not None and known.trigger is not trigger:
            raise RegistrationError(
                f"The trigger key {key!r} is registered twice: by {known.origin} and by "
                f"{entry.origin}. Rename one of them."
            )
        trigger.key = key
        self._content.triggers[key] = entry
        self.generation += 1
        return entry

    def snapshot(self) -> object:
        """Remember the content, to be given to ``restore``."""
        return self._content.copy()

    def restore(self, snapshot: object) -> None:
        """Go back to a remembered content."""
        if not isinstance(snapshot, _Content):
            raise TypeError("restore() takes what snapshot() gave.")
        self._content = snapshot.copy()
        self.generation += 1

    @contextmanager
    def temporary(
        self,
        actions: Iterable[type[BaseAction]] = (),
        triggers: Iterable[Trigger] = (),
        plugin: str = "test",
    ) -> Iterator[Registry]:
        """Register something for the length of a ``with`` block."""
        before = self.snapshot()
        try:
            for cls in actions:
                self.add_action(cls, plugin=plugin)
            for trigger in triggers:
                self.add_trigger(trigger, plugin=plugin)
            yield self
        finally:
            self.restore(before)

    def _refuse_taken(self, key: str, entry: ActionEntry) -> None:
        known = self._content.actions.get(key) or self._content.actions.get(
            self._content.aliases.get(key, "")
        )
        if known is not None:
            raise RegistrationError(
                f"The action key {key!r} is registered twice: by {known.origin} and by "
                f"{entry.origin}. Rename one of them, or disable one of the plugins."
            )


registry = Registry()


def register_action(cls: type[BaseAction]) -> type[BaseAction]:
    """Register an action of a project's own app (module ``flow_actions``); a class decorator.

    The plugin part of its key is the label of the app that contains the class.
    """
    registry.add_action(cls, plugin=_app_label(cls.__module__))
    return cls


def register_trigger(key: str, *, label: str = "", **options: object) -> Trigger:
    """Register a trigger of a project's own and give it back; calling it fires it.

    ``key`` is ``<app label>.<name>``; the options are those of Trigger (``model``, ``payload``,
    ``description``, ``Config``, ``accepts``). Raises RegistrationError for a malformed key.
    """
    plugin, _, name = key.partition(".")
    trigger = Trigger(name=name, label=label or name.replace("_", " "), **options)  # type: ignore[arg-type]
    registry.add_trigger(trigger, plugin=plugin)
    return trigger


def _app_label(module: str) -> str:
    config = apps.get_containing_app_config(module)
    if config is None:
        raise RegistrationError(
            f"The module {module} belongs to no installed app, so its actions have no key. Put "
            "it into an app of INSTALLED_APPS, or make it a plugin with an entry point."
        )
    return config.label


def _check_key(key: str, origin: str) -> None:
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY_LENGTH:
        raise RegistrationError(
            f"{key!r} is no key for {origin}: plugin and name are made of lower-case letters, "
            f"digits and underscores, start with a letter, and have at most {MAX_KEY_LENGTH} "
            "characters together."
        )


def _check_action(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, BaseAction)):
        raise RegistrationError(f"{cls!r} is no action: derive it from BaseAction.")
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not cls.name:
        raise RegistrationError(f"{where} has no name: set `name`, the second part of its key.")
    if not isinstance(getattr(cls, "effects", None), Effects):
        raise RegistrationError(
            f"{where} does not say its effects: set `effects` to Effects.NONE (touches only the "
            "state), Effects.DATABASE or Effects.EXTERNAL."
        )
    if cls.run is BaseAction.run:
        raise RegistrationError(f"{where} does not define run().")
    _check_config(cls, where)
    _check_names(cls, where)


def _check_names(cls: type[BaseAction], where: str) -> None:
    for name in ("branches", "aliases", "secret_fields"):
        if isinstance(getattr(cls, name), str):
            raise RegistrationError(
                f"{where}.{name} is a text, not a tuple: write `{name} = "
                f"({getattr(cls, name)!r},)`, with the comma."
            )
    for branch in cls.branch_names():
        if not _BRANCH.fullmatch(branch):
            raise RegistrationError(
                f"{where} has a branch {branch!r}: use lower-case letters, digits, underscores."
            )


def _check_config(cls: type[BaseAction], where: str) -> None:
    form: Any = cls.Config
    if not (isinstance(form, type) and issubclass(form, forms.BaseForm)):
        raise RegistrationError(f"{where}.Config has to be a Django form class.")
    fields: Iterable[str] = getattr(form, "base_fields", ())
    for name in fields:
        if name in _CONFIG_NAMES or name.startswith("_"):
            raise RegistrationError(
                f"{where}.Config has a field {name!r}, which run() could not read: config.{name} "
                "belongs to the configuration itself. Give the field another name."
            )
