"""The time zone of a flow: found by its name, and put in force where something is computed.

Filters, parts of times and texts of times follow the zone that is in force in Django, not one that
is handed to them: so it has to be the flow's, for each user and on each machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone, translation

from flowcontrol_core.errors import UnknownZoneError

_IN_FORCE: AbstractContextManager[Any] = nullcontext()


def find_zone(name: str | None) -> tzinfo:
    """Return the time zone of an IANA name, that of the site for none.

    Raises UnknownZoneError where the machine does not know it (any more).
    """
    if not name:
        return timezone.get_default_timezone()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown names, names that leave the data's folder, and names of folders in it.
        raise UnknownZoneError(name) from None


def is_known(name: str) -> bool:
    """Return whether the machine knows a time zone."""
    try:
        find_zone(name)
    except UnknownZoneError:
        return False
    return True


def in_zone(zone: tzinfo) -> AbstractContextManager[Any]:
    """Put a time zone in force for a ``with`` block; costs next to nothing where it is already."""
    return _IN_FORCE if timezone.get_current_timezone() is zone else timezone.override(zone)


@contextmanager
def neutral(zone: tzinfo) -> Iterator[None]:
    """Put a time zone in force, and no language: what is read or decided must not depend on one."""
    with in_zone(zone), translation.override(None):
        yield
