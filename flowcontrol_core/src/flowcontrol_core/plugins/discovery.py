"""Which plugins are installed: read from the metadata of distributions, importing none of them.

A settings module uses it too, so nothing of Django is imported here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final, NamedTuple

import importlib_metadata

CORE: Final = "flowcontrol-core"
PLUGIN_GROUP: Final = "flowcontrol.plugins"
APP_GROUP: Final = "flowcontrol.apps"
#: Another project, whose package is called ``flowcontrol`` too.
OTHER_DISTRIBUTION: Final = "django-flowcontrol"
DISABLE_VARIABLE: Final = "FLOWCONTROL_DISABLE_PLUGINS"

#: The names of what is released together with the core; no other distribution gets them.
OWNERS: Final = {
    "admin": "flowcontrol-admin",
    "builtin": "flowcontrol-actions-builtin",
    "signals": "flowcontrol-triggers-signals",
}

_NAMES_CORE = re.compile(r"flowcontrol[-_.]+core(?![-_.\w])", re.IGNORECASE)

logger = logging.getLogger("flowcontrol.plugins")


@dataclass(frozen=True, slots=True)
class PluginSource:
    """A plugin as its distribution declares it.

    ``name`` is the name of the entry point, ``module`` its value; ``requires`` are the lines
    ``Requires-Dist`` of the distribution; ``app`` is what the same distribution offers under the
    same name for INSTALLED_APPS, empty for a plugin that is not a Django app. ``problem`` says
    why nothing more is known of it, where its metadata is damaged.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    requires: tuple[str, ...] = ()
    app: str = ""
    problem: str = ""

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}".strip()
        return f"{origin} ({self.module})" if origin else self.module


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a distribution declares: its plugins, and apps by plugin name."""

    distribution: str
    plugins: tuple[PluginSource, ...]
    apps: Mapping[str, str]


def plugin_apps(exclude: Iterable[str] = ()) -> list[str]:
    """Return what the installed plugins add to INSTALLED_APPS, sorted by plugin name.

    For the settings module: ``INSTALLED_APPS += plugin_apps()``. Nothing is imported.
    Left out are the plugins named in ``exclude`` and in the environment variable
    ``FLOWCONTROL_DISABLE_PLUGINS``. Raises TypeError if ``exclude`` is a single string, and
    ImportError where the package ``flowcontrol`` is not wholly that of flowcontrol-core.
    """
    for fault in package_faults():
        raise ImportError(f"{fault.text} {fault.remedy}")
    if isinstance(exclude, str):
        raise TypeError(
            f"plugin_apps(exclude={exclude!r}): pass a list of names, exclude=[{exclude!r}]."
        )
    left_out = {*exclude, *disabled_by_environment()}
    found = sorted(
        (name, app)
        for offer in _offers()
        for name, app in offer.apps.items()
        if OWNERS.get(name, offer.distribution) == offer.distribution
    )
    return list(dict.fromkeys(app for name, app in found if name not in left_out))


def find_plugins() -> tuple[PluginSource, ...]:
    """Return the plugins of all installed distributions, sorted by name; nothing is imported.

    A distribution that is visible twice counts once, as the import would see it.
    """
    sources = {source for offer in _offers() for source in offer.plugins}
    return tuple(sorted(sources, key=lambda each: (each.name, each.distribution, each.module)))


def find_conflicts(sources: Iterable[PluginSource]) -> dict[str, tuple[PluginSource, ...]]:
    """Return the names that more than one plugin claims, each with all who do."""
    by_name: dict[str, list[PluginSource]] = {}
    for source in sources:
        by_name.setdefault(source.name, []).append(source)
    return {name: tuple(each) for name, each in by_name.items() if len(each) > 1}


def incompatibility(source: PluginSource, installed: str) -> str:
    """Return why the installed version of flowcontrol-core is not one that the plugin asks for.

    "" if it is. Requirements whose markers do not apply here are ignored, and so is everything if
    flowcontrol-core itself runs from a source tree without metadata, and so has no version.
    """
    wanted = [line for line in source.requires if _NAMES_CORE.match(line.strip())]
    reasons = (_unmet(line, installed) for line in wanted) if installed else ()
    return next((reason for reason in reasons if reason), "")


def disabled_by_environment() -> frozenset[str]:
    """Return the plugin names in the environment variable ``FLOWCONTROL_DISABLE_PLUGINS``."""
    return split_names(os.environ.get(DISABLE_VARIABLE, ""))


def split_names(text: str) -> frozenset[str]:
    """Split comma separated names; blanks and empty parts do not count."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def canonical_name(distribution: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503).

    ``packaging`` does the same, and takes longer to import than all the rest that settings need.
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _unmet(line: str, installed: str) -> str:
    # Only here: a settings module, which imports this one, needs no requirement.
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415

    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return f"Its requirement {line!r} cannot be read: {error}."
    marker = requirement.marker
    if marker is not None and not marker.evaluate({"extra": ""}):
        return ""
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"It asks for {CORE}{requirement.specifier}, but {CORE} {installed} is installed."


def installed_version(distribution: str) -> str:
    """Return the version of a distribution; "" where it is not installed."""
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return ""


class PackageFault(NamedTuple):
    """Why the package ``flowcontrol`` is not that of flowcontrol-core: the check, and sentences."""

    check: str
    text: str
    remedy: str


_INSTALL_AGAIN: Final = f"`pip install --force-reinstall --no-deps {CORE}`"


def package_faults() -> Iterator[PackageFault]:
    """Yield why the package ``flowcontrol`` is not, or not wholly, that of flowcontrol-core.

    It is not imported for that: what has replaced it could do anything.
    """
    if version := installed_version(OTHER_DISTRIBUTION):
        yield PackageFault(
            "E006",
            f"{OTHER_DISTRIBUTION} {version} is installed too: it is another project with a "
            "package of the same name, `flowcontrol`, so each overwrites files of the other.",
            f"Run `pip uninstall {OTHER_DISTRIBUTION}`, then {_INSTALL_AGAIN}.",
        )
    spec = importlib.util.find_spec("flowcontrol")
    if spec is None or spec.origin is None:
        yield PackageFault(
            "E007",
            f"Files of the package `flowcontrol` are missing, as after {OTHER_DISTRIBUTION}, which "
            "has a package of the same name, was uninstalled.",
            f"Run {_INSTALL_AGAIN}.",
        )
    elif not _is_own(spec):
        yield PackageFault(
            "E007",
            f"The package `flowcontrol` is imported from {Path(spec.origin).resolve().parent}, "
            f"which is not that of {CORE}.",
            "Rename your module, or uninstall the distribution that it belongs to, then run "
            f"{_INSTALL_AGAIN}.",
        )


def _is_own(spec: ModuleSpec) -> bool:
    """Return whether a package imports the core; one without its source is taken to."""
    source = getattr(spec.loader, "get_source", lambda _name: None)(spec.name)
    return source is None or "flowcontrol_core" in source


def _dotted(value: str) -> str:
    """Turn ``package.apps:Config``, as entry points name objects, into Django's notation."""
    return value.replace(" ", "").replace(":", ".")


def _offers() -> tuple[_Offer, ...]:
    return _read_offers(tuple(sys.path))


@cache
def _read_offers(_path: tuple[str, ...]) -> tuple[_Offer, ...]:
    """Return the distributions with entry points for plugins; read once for a search path."""
    offers: dict[str, _Offer] = {}
    for found in importlib_metadata.distributions():
        try:
            if _mentions_plugins(found):
                # A file is read at each access.
                head = found.metadata
                known = canonical_name(head["Name"])
                offers[known] = offers.get(known) or _read_offer(known, found, head)
        except Exception as error:  # noqa: BLE001  (one must not hide the others)
            folder = _folder_of(found)
            offers[folder] = _unreadable(folder, error)
    return tuple(offers[name] for name in sorted(offers))


def _mentions_plugins(found: Any) -> bool:
    try:
        text = found.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        text = error.object.decode(errors="replace")
    return f"[{PLUGIN_GROUP}]" in text or f"[{APP_GROUP}]" in text


def _read_offer(name: str, found: Any, head: Any) -> _Offer:
    """Return what a distribution declares; where it cannot be read, a plugin that says so."""
    try:
        # The first on sys.path counts, as for an import: it may shadow the one found.
        first = importlib_metadata.distribution(name)
        if first.locate_file("") != found.locate_file(""):
            found, head = first, first.metadata
        entries = found.entry_points
        apps = {entry.name: _dotted(entry.value) for entry in entries.select(group=APP_GROUP)}
        requires = tuple(_requirements(found, head))
        plugins = (
            PluginSource(
                name=entry.name,
                module=entry.value,
                distribution=head["Name"],
                version=head["Version"],
                requires=requires,
                app=apps.get(entry.name, ""),
            )
            for entry in entries.select(group=PLUGIN_GROUP)
        )
        return _Offer(name, tuple(plugins), apps)
    except Exception as error:  # noqa: BLE001  (one must not hide the others)
        return _unreadable(name, error)


def _requirements(found: Any, head: Any) -> Iterable[str]:
    """Return what a distribution requires; one installed the old way has a file of its own."""
    listed = head.get_all("Requires-Dist")
    return listed or (found.requires if found.read_text("requires.txt") else None) or ()


def _unreadable(name: str, error: Exception) -> _Offer:
    problem = f"Its metadata cannot be read: {type(error).__name__}: {error}."
    return _Offer(name, (PluginSource(name, "", name, problem=problem),), {})


def _folder_of(found: Any) -> str:
    """Return the name of the folder of a distribution that cannot tell its own name."""
    # The path is not part of the interface; it only makes the message clearer.
    return str(getattr(getattr(found, "_path", None), "name", "unknown distribution"))
