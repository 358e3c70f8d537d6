"""E-mail addresses: taking them apart, and refusing what is none."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formataddr, getaddresses, parseaddr
from typing import Any

from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.values import shown


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
    """Give the addresses of a text with commas; raises ActionError for what is none."""
    text = single_line(text, field)
    pairs = getaddresses([text], strict=False) if text else []
    # What stays empty is a comma too much, or a placeholder that gave nothing.
    return [_checked(name, address, field) for name, address in pairs if name or address]


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
    domain = parseaddr(sender)[1].rpartition("@")[2]
    try:
        return domain.encode("idna").decode("ascii") or "localhost"
    except UnicodeError:
        return "localhost"


def _checked(name: str, address: str, field: str) -> str:
    user, at, domain = address.rpartition("@")
    if not (user and at and domain) or any(letter.isspace() for letter in address):
        raise ActionError(f"{field} of the e-mail has {shown(address or name)}: no e-mail address.")
    return formataddr((name, address), "utf-8") if name.isascii() and name else (
        f"{name} <{address}>" if name else address
    )
