"""Which filters and functions there are: Django's, those of plugins, those a project opens."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from django.core.signals import setting_changed
from django.template import Library

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import RegistrationError
from flowcontrol_core.expressions.django_filters import DJANGO_FILTERS, LEFT_OUT
from flowcontrol_core.expressions.filters import (
    ExpressionFilter,
    ExpressionFunction,
    Filter,
    adapt,
    check_function,
)
from flowcontrol_core.suggest import did_you_mean

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")

Offered = ExpressionFilter | ExpressionFunction


@dataclass(frozen=True, slots=True)
class _Added:
    """What plugins have added; each change makes a new one, so that an old one can be restored.

    ``owners`` names the plugin of each, under the key that missing ones are known by.
    """

    filters: Mapping[str, Filter] = field(default_factory=dict)
    functions: Mapping[str, ExpressionFunction] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)


class Extensions:
    """The filters and functions that expressions know. A name belongs to one of them.

    A filter has the key ``|name``, a function ``name()``: runs that lack one are blocked on it.
    """

    def __init__(self) -> None:
        self._added = _Added()

    @property
    def functions(self) -> Mapping[str, ExpressionFunction]:
        """The functions by name."""
        return MappingProxyType(self._added.functions)

    def find_filter(self, name: str) -> Filter | None:
        """Return the filter of a name: Django's own go before all others."""
        added = self._added.filters
        return DJANGO_FILTERS.get(name) or added.get(name) or opened_filters().filters.get(name)

    def filter_names(self, *, html: bool) -> list[str]:
        """Return the names of all filters, for a text or for HTML."""
        known = {**opened_filters().filters, **self._added.filters, **DJANGO_FILTERS}
        return sorted(name for name, found in known.items() if html or not found.html_only)

    def knows(self, key: str) -> bool:
        """Return whether there is a filter or function of a key."""
        if key.startswith("|"):
            return self.find_filter(key[1:]) is not None
        return key.endswith("()") and key[:-2] in self._added.functions

    def add(self, offered: Offered, *, plugin: str) -> str:
        """Add a filter or function of a plugin and return its key.

        Raises RegistrationError where it is malformed, or where its name is taken.
        """
        if not isinstance(offered, ExpressionFilter | ExpressionFunction):
            raise RegistrationError(
                f"The plugin {plugin!r} offers {offered!r} as a filter; it must be an instance of "
                "flowcontrol.expressions.ExpressionFilter or ExpressionFunction."
            )
        is_filter = isinstance(offered, ExpressionFilter)
        key = f"|{offered.name}" if is_filter else f"{offered.name}()"
        if not _NAME.fullmatch(offered.name):
            raise RegistrationError(
                f"{offered.name!r} of the plugin {plugin!r} is not a name: use lower-case letters, "
                "digits and underscores, starting with a letter, and at most 50 of them."
            )
        self._refuse_taken(key, offered.name, plugin)
        check_function(offered)
        added = replace(self._added, owners={**self._added.owners, key: plugin})
        if isinstance(offered, ExpressionFilter):
            filters = {**added.filters, offered.name: adapt(offered.name, offered.function)}
            self._added = replace(added, filters=filters)
        else:
            functions = {**added.functions, offered.name: offered}
            self._added = replace(added, functions=functions)
        return key

    def _refuse_taken(self, key: str, name: str, plugin: str) -> None:
        owner = self._added.owners.get(key)
        if key.startswith("|") and (name in DJANGO_FILTERS or name in LEFT_OUT):
            owner = "Django"
        if owner is not None:
            raise RegistrationError(
                f"The plugin {plugin!r} cannot add {key!r}, which belongs to {owner!r}. Give it "
                "another name."
            )

    def snapshot(self) -> object:
        """Return what was added, for ``restore``."""
        return self._added

    def restore(self, snapshot: object) -> None:
        """Go back to a snapshot."""
        if not isinstance(snapshot, _Added):
            raise TypeError("restore() takes what snapshot() returned.")
        self._added = snapshot

    def remove(self, gone: Container[str]) -> None:
        """Remove the filters and functions of these keys."""
        added = self._added
        self._added = _Added(
            {name: found for name, found in added.filters.items() if f"|{name}" not in gone},
            {name: found for name, found in added.functions.items() if f"{name}()" not in gone},
            {key: owner for key, owner in added.owners.items() if key not in gone},
        )


#: The filters and functions of this process.
extensions = Extensions()


@dataclass(frozen=True, slots=True)
class OpenedFilters:
    """What a project opens in ``EXPRESSION_FILTERS``: the filters, and what is wrong with it."""

    filters: Mapping[str, Filter]
    faults: tuple[str, ...] = ()


@cache
def opened_filters() -> OpenedFilters:
    """Return the filters of template libraries that the project has opened one by one.

    One that cannot be had is a fault, which ``manage.py check`` shows, and harms no other.
    """
    filters: dict[str, Filter] = {}
    faults: list[str] = []
    for module, names in get_settings().EXPRESSION_FILTERS.items():
        try:
            library = _library(module)
        except Exception as error:  # noqa: BLE001 - a module of a project may raise anything
            faults.append(f"The template library {module!r} cannot be used: {error}")
            continue
        for name in names:
            try:
                filters[name] = _open(library, name, module, filters)
            except RegistrationError as error:
                faults.append(str(error))
    return OpenedFilters(filters, tuple(faults))


def _library(module: str) -> Library:
    library: Any = getattr(import_module(module), "register", None)
    if not isinstance(library, Library):
        raise RegistrationError("it has no `register = template.Library()`.")
    return library


def _open(library: Library, name: str, module: str, opened: Mapping[str, Filter]) -> Filter:
    function = library.filters.get(name)
    if function is None:
        known = sorted(library.filters)
        advice = did_you_mean(name, known, f"Its filters are {', '.join(known)}.")
        raise RegistrationError(f"{module} has no filter {name!r}. {advice}")
    if name in DJANGO_FILTERS or name in LEFT_OUT or name in opened:
        raise RegistrationError(f"The filter {name!r} of {module} has a name that is taken.")
    return adapt(name, function)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "FLOWCONTROL":
        opened_filters.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flowcontrol_core.expressions.extensions")
