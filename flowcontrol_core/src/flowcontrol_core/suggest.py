"""“Did you mean …?”: the one place that proposes the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from flowcontrol_core import bounds
from flowcontrol_core.errors import gettext


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the one of the known names that was probably meant; empty where none is near."""
    if not isinstance(name, str) or len(name) > bounds.SUGGESTION_CHARACTERS:
        return ""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else ""


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return a sentence that proposes the nearest of the known names, or ``otherwise``."""
    meant = nearest(name, known)
    return gettext("Did you mean “%(name)s”?") % {"name": meant} if meant else otherwise


def nearest_or_all(name: str, known: Sequence[str]) -> str:
    """Return a sentence that proposes the nearest of the known names, or lists them all."""
    return did_you_mean(name, known, possible(known))


def possible(names: Iterable[str]) -> str:
    """Return a sentence that lists names."""
    return gettext("Possible are: %(names)s.") % {"names": ", ".join(names)}
