"""Values of model fields in payloads: JSON, bounded, without secrets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from flowcontrol.redaction import is_secret

MAX_TEXT = 1_000
MAX_ITEMS = 100
MAX_DEPTH = 5


def payload_value(value: Any, depth: int = 0) -> Any:
    """Return a value as a payload can have it, whatever it is; never raises.

    Numbers, dates and times stay as they are, texts are cut, everything else becomes text.
    """
    if value is None or isinstance(value, bool | timedelta | date):
        return value
    if isinstance(value, float | Decimal):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if abs(value) < 10**MAX_ITEMS else plain_text(value)
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"
    if depth < MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        return _container(value, depth)
    return plain_text(value)


def plain_text(value: Any, length: int = MAX_TEXT) -> str:
    """Return a value as text that any database can store, cut to this many characters."""
    try:
        text = str(value)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException:  # noqa: BLE001  (a foreign __str__ may raise anything)
        return f"({type(value).__name__})"
    return text[:length].replace("\x00", "").encode(errors="replace").decode()


def _container(value: Any, depth: int) -> Any:
    if not isinstance(value, Mapping):
        return [payload_value(item, depth + 1) for item in value[:MAX_ITEMS]]
    items = [(plain_text(key), item) for key, item in list(value.items())[:MAX_ITEMS]]
    return {key: payload_value(item, depth + 1) for key, item in items if not is_secret(key)}
