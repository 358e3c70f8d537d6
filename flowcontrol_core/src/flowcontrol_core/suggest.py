"""“Did you mean …?”: the one way to propose the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flowcontrol_core.errors import gettext

#: Longer names are not compared: it would take long, and they are not typed.
LONGEST = 60


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return a sentence that proposes the nearest of the known names, or ``otherwise``."""
    if isinstance(name, str) and len(name) <= LONGEST:
        by_lower = {each.lower(): each for each in known}
        if near := difflib.get_close_matches(name.lower(), by_lower, n=1):
            return gettext("Did you mean “%(name)s”?") % {"name": by_lower[near[0]]}
    return otherwise
