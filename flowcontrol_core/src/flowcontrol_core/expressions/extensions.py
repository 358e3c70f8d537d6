"""Which filters and functions there are: Django's, those of plugins, those a project opens."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

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


_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class _Added:
    """What plugins have added, by ``<plugin>.<name>``.

    Each change makes a new one, so that an old one can be restored.
    """

    filters: Mapping[str, Filter] = field(default_factory=dict)
    functions: Mapping[str, ExpressionFunction] = field(default_factory=dict)


class Extensions:
    """The filters and functions that expressions know.

    Those of plugins are found by their name alone as long as one plugin has it, and always as
    ``<plugin>.<name>``: no plugin can take a name away from another one. What is missing has a key
    as it was written, ``|name`` or ``name()``: runs that need it are blocked on it.
    """

    def __init__(self) -> None:
        self._added = _Added()

    def find_filter(self, name: str) -> Filter | None:
        """Return the filter of a name: Django's own and those of the project go before others."""
        known = DJANGO_FILTERS.get(name) or opened_filters().filters.get(name)
        return known or _find(self._added.filters, name)

    def find_function(self, name: str) -> ExpressionFunction | None:
        """Return the function of a name."""
        return _find(self._added.functions, name)

    def filter_names(self, *, html: bool) -> list[str]:
        """Return the names of all filters, for a text or for HTML."""
        own = (name for name, found in DJANGO_FILTERS.items() if html or not found.html_only)
        return sorted({*own, *opened_filters().filters, *_short_names(self._added.filters)})

    def function_names(self) -> list[str]:
        """Return the names of all functions."""
        return sorted(_short_names(self._added.functions))

    def claimants(self, name: str) -> list[str]:
        """Return the filters and functions of plugins that share a name."""
        added = {**self._added.filters, **self._added.functions}
        return sorted(key for key in added if key.endswith(f".{name}"))

    def knows(self, key: str) -> bool:
        """Return whether there is a filter or function of a key."""
        if key.startswith("|"):
            return self.find_filter(key[1:]) is not None
        return key.endswith("()") and self.find_function(key[:-2]) is not None

    def add(self, offered: Offered, *, plugin: str) -> str:
        """Add a filter or function of a plugin and return its key.

        Raises RegistrationError where it is malformed, or its name is one of Django's.
        """
        if not isinstance(offered, ExpressionFilter | ExpressionFunction):
            raise RegistrationError(
                f"The plugin {plugin!r} offers {offered!r} as a filter; it must be an instance of "
                "flowcontrol.expressions.ExpressionFilter or ExpressionFunction."
            )
        name = f"{plugin}.{offered.name}"
        self._check_name(name, offered)
        check_function(offered)
        added = self._added
        if isinstance(offered, ExpressionFilter):
            filters = {**added.filters, name: adapt(offered.name, offered.function)}
            self._added = replace(added, filters=filters)
            return f"|{name}"
        self._added = replace(added, functions={**added.functions, name: offered})
        return f"{name}()"

    def _check_name(self, name: str, offered: Offered) -> None:
        if not _NAME.fullmatch(offered.name):
            raise RegistrationError(
                f"{name!r} is not a name for a filter: use lower-case letters, digits and "
                "underscores, starting with a letter, and at most 50 of them."
            )
        is_filter = isinstance(offered, ExpressionFilter)
        if is_filter and (offered.name in DJANGO_FILTERS or offered.name in LEFT_OUT):
            raise RegistrationError(
                f"The filter {name!r} has a name that belongs to Django. Give it another one."
            )
        if name in (self._added.filters if is_filter else self._added.functions):
            raise RegistrationError(f"{name!r} is offered twice. Remove one of them.")

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
        )


def _find(added: Mapping[str, _Found], name: str) -> _Found | None:
    """Return what a name stands for; None where nothing, or more than one, has it."""
    if "." in name:
        return added.get(name)
    found = [each for key, each in added.items() if key.endswith(f".{name}")]
    return found[0] if len(found) == 1 else None


def _short_names(added: Iterable[str]) -> set[str]:
    return {key.rpartition(".")[2] for key in added}


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
