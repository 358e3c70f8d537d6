"""The registry: all actions and triggers of a process, by key."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import isasyncgenfunction, isgeneratorfunction, signature
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import iscoroutinefunction
from django import forms
from django.apps import apps
from django.utils.functional import Promise

from flowcontrol_core import bounds
from flowcontrol_core.actions.base import BaseAction, Effects, plugin_text
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.trigger import Accepts, Trigger
from flowcontrol_core.errors import (
    RegistrationError,
    UnknownActionError,
    UnknownTriggerError,
)
from flowcontrol_core.expressions.extensions import Extensions, Offered, extensions
from flowcontrol_core.suggest import did_you_mean

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_BRANCH = re.compile(r"[a-z][a-z0-9_]*")
_CONFIG_NAMES = {name for name in dir(BoundConfig) if not name.startswith("_")}

ActionClass = TypeVar("ActionClass", bound=type[BaseAction])


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """A registered action: its key, its one instance, and where it comes from."""

    key: str
    action: BaseAction
    plugin: str
    distribution: str

    @property
    def label(self) -> str:
        """The name of the action for people."""
        return plugin_text(self.action.verbose_name, self.key)

    @property
    def group(self) -> str:
        """Where the action is offered; the plugin's name where it says nothing else."""
        return plugin_text(self.action.group, self.plugin)

    @property
    def description(self) -> str:
        """What the action does, for people."""
        return plugin_text(self.action.description)

    def branch_label(self, name: str) -> str:
        """What people call a branch: as the action says, or else its name as words."""
        plain = name.replace("_", " ").capitalize()
        return plugin_text(self.action.branch_labels.get(name, plain), plain)

    @property
    def origin(self) -> str:
        """The class and the distribution, for messages."""
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
    def label(self) -> str:
        """The name of the trigger for people."""
        return plugin_text(self.trigger.label, self.key)

    @property
    def description(self) -> str:
        """What happens when the trigger fires, for people."""
        return plugin_text(self.trigger.description)

    @property
    def payload(self) -> dict[str, str]:
        """What the trigger brings: by key, in words."""
        return {name: plugin_text(text) for name, text in self.trigger.payload.items()}

    @property
    def origin(self) -> str:
        """The trigger and where it comes from, for messages."""
        return f"{self.label!r} of {self.distribution or f'the app {self.plugin!r}'}"


@dataclass(frozen=True, slots=True)
class _Content:
    """What is registered; each change makes a new one, so that an old one can be restored."""

    actions: Mapping[str, ActionEntry] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    triggers: Mapping[str, TriggerEntry] = field(default_factory=dict)

    def find_action(self, key: str) -> ActionEntry | None:
        return self.actions.get(key) or self.actions.get(self.aliases.get(key, ""))


class _Snapshot(NamedTuple):
    """What a registry held."""

    content: _Content
    expressions: object


class Registry:
    """What plugins and projects have registered; data refers to its keys.

    ``generation`` grows with each change, so that what was compiled against it can be renewed.
    """

    def __init__(self, expressions: Extensions | None = None) -> None:
        self._content = _Content()
        self._owners: Mapping[str, str] = {}
        self._expressions = expressions or Extensions()
        self.generation = 0

    def reserve(self, owners: Mapping[str, str]) -> None:
        """Keep the keys of installed plugins, by name, for their distributions: see aliases.

        It does not matter which of them is registered first, or whether it can be.
        """
        self._owners = owners

    @property
    def actions(self) -> Mapping[str, ActionEntry]:
        """The actions by key, aliases left out."""
        return MappingProxyType(self._content.actions)

    @property
    def triggers(self) -> Mapping[str, TriggerEntry]:
        """The triggers by key."""
        return MappingProxyType(self._content.triggers)

    def get_action(self, key: str) -> ActionEntry:
        """Return the action registered under a key or an alias; raises UnknownActionError."""
        entry = self._content.find_action(key)
        if entry is None:
            raise UnknownActionError(key)
        return entry

    def action_label(self, key: str) -> str:
        """Return the name of an action for people; its key where it is not registered."""
        entry = self._content.find_action(key)
        return entry.label if entry else key

    def trigger_label(self, key: str) -> str:
        """Return the name of a trigger for people; its key where it is not registered."""
        entry = self._content.triggers.get(key)
        return entry.label if entry else key

    def knows_action(self, key: str) -> bool:
        """Return whether a step with this action can be executed here."""
        return key in self._content.actions or key in self._content.aliases

    def knows(self, key: str) -> bool:
        """Return whether what a run is blocked on is here: an action, a filter or a function."""
        return self.knows_action(key) or self._expressions.knows(key)

    def get_trigger(self, key: str) -> Trigger:
        """Return the trigger of a key; raises UnknownTriggerError."""
        try:
            return self._content.triggers[key].trigger
        except KeyError:
            raise UnknownTriggerError(key) from None

    def add_action(
        self, cls: type[BaseAction], *, plugin: str, distribution: str = ""
    ) -> ActionEntry:
        """Register an action class; raises RegistrationError naming the culprits."""
        _check_action(cls)
        entry = ActionEntry(f"{plugin}.{cls.name}", cls(), plugin, distribution)
        for alias in cls.aliases:
            self._check_owner(alias, entry)
        for key in (entry.key, *cls.aliases):
            _check_key(key, entry.origin)
            known = self._content.find_action(key)
            if known is not None:
                raise RegistrationError(
                    f"The action key {key!r} is registered twice: by {known.origin} and by "
                    f"{entry.origin}. Rename one of them, or disable one of the plugins."
                )
        actions = {**self._content.actions, entry.key: entry}
        aliases = {**self._content.aliases, **dict.fromkeys(cls.aliases, entry.key)}
        self._set(replace(self._content, actions=actions, aliases=aliases))
        return entry

    def add_trigger(self, trigger: Trigger, *, plugin: str, distribution: str = "") -> TriggerEntry:
        """Register a trigger; raises RegistrationError where its key is taken or malformed."""
        if not isinstance(trigger, Trigger):
            raise RegistrationError(
                f"The plugin {plugin!r} offers {trigger!r} as a trigger; it must be an "
                "instance of flowcontrol.registry.Trigger."
            )
        key = f"{plugin}.{trigger.name}"
        _check_model(trigger.model, f"The model of the trigger {key!r}")
        _check_key(key, f"the trigger {plugin_text(trigger.label)!r} of the plugin {plugin!r}")
        entry = TriggerEntry(key, trigger, plugin, distribution)
        known = self._content.triggers.get(key)
        if known is not None and known.trigger is not trigger:
            raise RegistrationError(
                f"The trigger key {key!r} is registered twice: by {known.origin} and by "
                f"{entry.origin}. Rename one of them."
            )
        trigger.key = key
        self._set(replace(self._content, triggers={**self._content.triggers, key: entry}))
        return entry

    def add_filter(self, offered: Offered, *, plugin: str) -> str:
        """Register a filter or function of expressions and return its key: ``|name``, ``name()``.

        Raises RegistrationError where it is malformed, or where its name is taken.
        """
        key = self._expressions.add(offered, plugin=plugin)
        self.generation += 1
        return key

    def remove(self, keys: Container[str]) -> None:
        """Remove the actions, with their aliases, the triggers and the filters of these keys."""
        content = self._content
        self._expressions.remove(keys)
        self._set(
            _Content(
                {key: entry for key, entry in content.actions.items() if key not in keys},
                {alias: key for alias, key in content.aliases.items() if key not in keys},
                {key: entry for key, entry in content.triggers.items() if key not in keys},
            )
        )

    def snapshot(self) -> object:
        """Return the content, for ``restore``."""
        return _Snapshot(self._content, self._expressions.snapshot())

    def restore(self, snapshot: object) -> None:
        """Go back to the content of a snapshot."""
        if not isinstance(snapshot, _Snapshot):
            raise TypeError("restore() takes what snapshot() returned.")
        self._expressions.restore(snapshot.expressions)
        self._set(snapshot.content)

    @contextmanager
    def temporary(
        self,
        *actions: type[BaseAction],
        triggers: Iterable[Trigger] = (),
        filters: Iterable[Offered] = (),
        plugin: str = "test",
    ) -> Iterator[Registry]:
        """Register actions and triggers under ``<plugin>.<name>`` for a ``with`` block.

        ``filters`` are filters and functions of expressions.
        """
        before = self.snapshot()
        try:
            for cls in actions:
                self.add_action(cls, plugin=plugin)
            for trigger in triggers:
                self.add_trigger(trigger, plugin=plugin)
            for offered in filters:
                self.add_filter(offered, plugin=plugin)
            yield self
        finally:
            self.restore(before)

    def _check_owner(self, alias: str, entry: ActionEntry) -> None:
        plugin = alias.partition(".")[0]
        own = entry.distribution
        if plugin != entry.plugin and (owner := self._owners.get(plugin, own)) != own:
            raise RegistrationError(
                f"{entry.origin} has the alias {alias!r}, a key of the plugin {plugin!r} of "
                f"{owner}. Take the alias away: only {owner} may rename its actions."
            )

    def _set(self, content: _Content) -> None:
        self._content = content
        self.generation += 1


registry = Registry(extensions)


def register_action(cls: ActionClass) -> ActionClass:
    """Register an action of a project's own app (module ``flow_actions``); a class decorator.

    The plugin part of its key is the label of the app that contains the class.
    """
    registry.add_action(cls, plugin=_app_label(cls.__module__))
    return cls


def register_trigger(
    key: str,
    *,
    label: str | Promise = "",
    description: str | Promise = "",
    model: str = "",
    payload: Mapping[str, str | Promise] | None = None,
    Config: type[forms.Form] = forms.Form,  # noqa: N803 - the name that it has in Trigger
    accepts: Accepts | None = None,
) -> Trigger:
    """Register a trigger of a project's own and return it; calling it fires it.

    ``key`` is ``<app label>.<name>``; the other parameters are those of Trigger. Raises
    RegistrationError for a malformed key.
    """
    plugin, dot, name = key.partition(".")
    if not dot:
        raise RegistrationError(
            f"{key!r} is not a valid key for the trigger {str(label) or key!r}: it does not say "
            f"which app it belongs to. Write `<app label>.{key}`, such as `shop.{key}`."
        )
    trigger = Trigger(
        name=name,
        label=label or name.replace("_", " "),
        description=description,
        model=model,
        payload=payload or {},
        Config=Config,
        accepts=accepts,
    )
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
    if not _KEY.fullmatch(key) or len(key) > bounds.ACTION_KEY_CHARACTERS:
        raise RegistrationError(
            f"{key!r} is not a valid key for {origin}: plugin and name are made of lower-case "
            "letters, digits and underscores, start with a letter, and have at most "
            f"{bounds.ACTION_KEY_CHARACTERS} characters together."
        )


def _check_action(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, BaseAction)):
        raise RegistrationError(f"{cls!r} is not an action: derive it from BaseAction.")
    where = f"{cls.__module__}.{cls.__qualname__}"
    if not cls.name:
        raise RegistrationError(f"{where} has no name: set `name`, the second part of its key.")
    if not isinstance(getattr(cls, "effects", None), Effects):
        raise RegistrationError(
            f"{where} does not declare its effects: set `effects` to Effects.NONE (touches only "
            "the state), Effects.DATABASE or Effects.EXTERNAL."
        )
    if cls.run is BaseAction.run:
        raise RegistrationError(f"{where} does not define run().")
    _check_calls(cls, where)
    _check_methods(cls, where)
    _check_config(cls.Config, where)
    _check_names(cls, where)
    _check_references(cls, where)
    _check_version(cls, where)


def _check_calls(cls: type[BaseAction], where: str) -> None:
    """Refuse methods that do not take what the engine hands them."""
    for method in ("run", "return_from_children"):
        try:
            signature(getattr(cls, method)).bind(None, run=None, obj=None, config=None)
        except TypeError as error:
            raise RegistrationError(
                f"{where}.{method}() is called with the keywords run, obj and config ({error}): "
                f"define it as `def {method}(self, *, run, obj, config)`."
            ) from None


def _check_references(cls: type[BaseAction], where: str) -> None:
    """Refuse names of what does not exist: as a rule a spelling mistake, which would do harm."""
    known = list(cls.Config.base_fields)
    for name in cls.secret_fields:
        if name not in known:
            hint = did_you_mean(name, known, f"Its fields are {', '.join(known) or 'none'}.")
            raise RegistrationError(
                f"{where}.secret_fields names {name!r}, which is not a field of Config. {hint}"
            )
    for branch in cls.branch_labels:
        if branch not in (names := cls.branch_names()):
            hint = did_you_mean(branch, names, f"Its branches are {', '.join(names) or 'none'}.")
            raise RegistrationError(
                f"{where}.branch_labels names {branch!r}, which is not one of its branches. {hint}"
            )
    _check_model(cls.object_type, f"{where}.object_type")
    app, _, codename = cls.permission.partition(".")
    if cls.permission and not (codename and app in _app_labels()):
        raise RegistrationError(
            f"{where}.permission is {cls.permission!r}: write the label of an installed app and "
            'a codename, such as "shop.change_order".'
        )


def _app_labels() -> set[str]:
    return {config.label for config in apps.get_app_configs()}


def _check_model(label: str, where: str) -> None:
    try:
        if label:
            apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise RegistrationError(
            f"{where} is {label!r}, which is not an installed model ({error}): write "
            '"app_label.model", or leave it out.'
        ) from None


def _check_version(cls: type[BaseAction], where: str) -> None:
    version = cls.config_version
    if type(version) is not int or not 1 <= version <= bounds.CONFIG_VERSION:
        raise RegistrationError(f"{where}.config_version is {version!r}: use 1, 2 and so on.")
    if version > 1 and cls.upgrade_config is BaseAction.upgrade_config:
        raise RegistrationError(
            f"{where}.config_version is {version}, but stored configurations of version 1 stay "
            "as they are: define upgrade_config()."
        )


#: The methods that answer for an action.
_CALLED = ("run", "return_from_children")
#: The methods that are asked about it: there is nothing to wait for.
_ASKED = ("upgrade_config", "summary", "check", "needs_loop", "waits_for", "starts_flows")


def _check_methods(cls: type[BaseAction], where: str) -> None:
    """Refuse methods whose answer would be a coroutine or a generator, and no directive."""
    for name in _CALLED:
        method = getattr(cls, name)
        if isgeneratorfunction(method) or isasyncgenfunction(method):
            raise RegistrationError(
                f"{where}.{name}() has a `yield`, so it would return a generator and do nothing. "
                "Return a directive or None."
            )
        if iscoroutinefunction(method) and cls.effects is not Effects.EXTERNAL:
            raise RegistrationError(
                f"{where}.{name}() is `async def`, which only an action with Effects.EXTERNAL may "
                "be: an event loop cannot be part of a transaction. Write `def`, or declare "
                "Effects.EXTERNAL."
            )
    for name in _ASKED:
        if iscoroutinefunction(getattr(cls, name)):
            raise RegistrationError(f"{where}.{name}() is `async def`: write `def`.")


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


def _check_config(form: Any, where: str) -> None:
    if not (isinstance(form, type) and issubclass(form, forms.BaseForm)):
        raise RegistrationError(f"{where}.Config must be a Django form class.")
    for name in getattr(form, "base_fields", ()):
        if name in _CONFIG_NAMES or name.startswith("_"):
            raise RegistrationError(
                f"{where}.Config has a field {name!r}, which run() could not read: config.{name} "
                "belongs to the configuration itself. Give the field another name."
            )
    for name, item in getattr(form, "base_fields", {}).items():
        if isinstance(item, forms.FileField):
            raise RegistrationError(
                f"{where}.Config has a field {name!r} for a file, which a document cannot store. "
                "Use a ModelChoiceField for a row that has the file."
            )
