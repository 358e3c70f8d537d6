"""E-mail addresses: taking them apart, and refusing what is none."""

from __future__ import annotations

from collections.abc import Iterable
from email.errors import HeaderParseError, InvalidHeaderDefect
from email.headerregistry import Address, AddressHeader, HeaderRegistry
from email.utils import parseaddr
from typing import Any, Final, cast

from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.values import shown

_registry: Final = HeaderRegistry()


def single_line(text: str, field: str) -> str:
    """Give a value for a header, stripped; raises ActionError where it has several lines."""
    text = text.strip()
    if "\n" in text or "\r" in text:
        raise ActionError(
            f"{field} of the e-mail has a line break ({shown(text)}); a header is one line. "
            "Correct the value it is made of."
        )
    return text


def split_addresses(text: str, field: str) -> list[str]:
    """Give the addresses of a text with commas; raises ActionError for what is none.

    A comma too much, as a placeholder leaves it that gives nothing, does no harm.
    """
    return [str(address) for address in _parse(single_line(text, field), field)]


def listed_addresses(value: Any, field: str) -> list[str]:
    """Give the addresses of a computed value: a text, a list of texts, or nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        return split_addresses(value, field)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ActionError(f"{field} has to give an address or a list of them, not {shown(value)}.")
    return [address for item in value for address in split_addresses(item, field)]


def staff_addresses(setting: Iterable[Any]) -> list[str]:
    """Give the addresses of MANAGERS or ADMINS: pairs of name and address, or just addresses."""
    return [entry if isinstance(entry, str) else entry[1] for entry in setting]


def domain_of(sender: str) -> str:
    """Give the domain of an address in ASCII, for a Message-ID that is the same on all hosts."""
    domain = parseaddr(sender)[1].partition("@")[2]
    try:
        return domain.encode("idna").decode("ascii") or "localhost"
    except UnicodeError:
        return "localhost"


def _parse(text: str, field: str) -> tuple[Address, ...]:
    try:
        header = _registry("To", text)
    except (HeaderParseError, IndexError, ValueError):
        raise _refusal(text, field) from None
    if any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
        raise _refusal(text, field)
    return cast("AddressHeader", header).addresses


def _refusal(text: str, field: str) -> ActionError:
    return ActionError(
        f"{field} of the e-mail is {shown(text)}: that has a part that is no e-mail address. "
        "Separate addresses by commas, and put names with commas in quotes."
    )
