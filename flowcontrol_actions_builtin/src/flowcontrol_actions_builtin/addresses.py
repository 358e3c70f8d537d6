"""E-mail addresses: reading them from texts, and refusing what is not an address."""

from __future__ import annotations

from collections.abc import Iterable
from email.errors import HeaderParseError, InvalidHeaderDefect
from email.headerregistry import AddressHeader, HeaderRegistry
from email.utils import parseaddr
from typing import Any, Final, cast

from django.utils.translation import gettext

from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.values import shown

_registry: Final = HeaderRegistry()


def single_line(text: str, field: Any) -> str:
    """Return a value for a header, stripped; raises ActionError for several lines."""
    text = text.strip()
    if "\n" in text or "\r" in text:
        problem = gettext("“%(field)s” must be one line, without a line break: %(value)s.")
        raise ActionError(problem % {"field": field, "value": shown(text)})
    return text


def split_addresses(text: str, field: Any) -> list[str]:
    """Return the addresses of a text with commas; raises ActionError for anything else.

    Empty items, such as an empty placeholder leaves, are skipped.
    """
    text = single_line(text, field)
    header = _parse(text)
    if header is None:
        problem = gettext(
            "“%(field)s” contains an invalid e-mail address: %(value)s. Separate addresses by "
            "commas, and put names that contain commas in quotes."
        )
        raise ActionError(problem % {"field": field, "value": shown(text)})
    return [str(address) for address in header.addresses]


def listed_addresses(value: Any, field: Any) -> list[str]:
    """Return the addresses of a computed value: a text, a list of texts, or nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        return split_addresses(value, field)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        problem = gettext("“%(field)s” must be an address or a list of addresses, not %(value)s.")
        raise ActionError(problem % {"field": field, "value": shown(value)})
    return [address for item in value for address in split_addresses(item, field)]


def staff_addresses(setting: Iterable[Any]) -> list[str]:
    """Return the addresses of MANAGERS or ADMINS: pairs of name and address, or addresses."""
    return [entry if isinstance(entry, str) else entry[1] for entry in setting]


def domain_of(sender: str) -> str:
    """Return the domain of an address in ASCII: a Message-ID must be the same on all hosts."""
    domain = parseaddr(sender)[1].partition("@")[2]
    try:
        return domain.encode("idna").decode("ascii") or "localhost"
    except UnicodeError:
        return "localhost"


def _parse(text: str) -> AddressHeader | None:
    """Return the header with these addresses, or None where one of them is invalid."""
    try:
        header = _registry("To", text)
    except (HeaderParseError, IndexError, ValueError):
        return None
    if any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
        return None
    return cast("AddressHeader", header)
