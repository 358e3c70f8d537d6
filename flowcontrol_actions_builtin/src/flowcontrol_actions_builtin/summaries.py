"""What the summaries of the actions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import ceil
from typing import Any

from flowcontrol.base import BoundConfig
from flowcontrol_actions_builtin.calendar import Unit
from flowcontrol_actions_builtin.forms import UNITS
from flowcontrol_actions_builtin.values import typed_number


def join_phrases(values: Mapping[str, Any], *phrases: str) -> str:
    """Return phrases, separated by commas, with values for their placeholders; skip empty ones."""
    return ", ".join(filter(None, phrases)) % values


def describe_duration(config: BoundConfig, name: str, unit_name: str) -> str:
    """Return the amount of time in two fields, without its sign: “1 day”, “state.days days”."""
    amount = config.source(name)
    phrase = UNITS[Unit(config.source(unit_name))][1]
    number = typed_number(amount)
    if number is None:
        return str(phrase % {"amount": amount, "n": 2})
    size = abs(number)
    return str(phrase % {"amount": size, "n": ceil(min(size, Decimal(1000)))})
