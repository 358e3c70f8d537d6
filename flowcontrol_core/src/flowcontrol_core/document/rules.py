"""What a document may contain: its patterns and its bounds."""

from __future__ import annotations

import re
from typing import Final

from flowcontrol_core.document.tree import IfUnknown, Jitter

MAX_STEPS: Final = 2_000
MAX_DEPTH: Final = 50
"""How many branches deep a step may stand."""
MAX_BYTES: Final = 1024 * 1024
"""The size of the document as compact JSON in UTF-8."""
MAX_VALUE_DEPTH: Final = 50
"""How deep lists and objects may nest inside one configuration."""
MAX_GUARD: Final = 1_000
MAX_NOTE: Final = 2_000
MAX_KEY: Final = 200
MAX_SECONDS: Final = 3_660 * 86_400
"""The longest duration: about ten years."""
MAX_ATTEMPTS: Final = 1_000
MAX_FACTOR: Final = 1_000
MAX_ERRORS: Final = 50
MAX_VERSION: Final = 2**31 - 1
MAX_INTEGER_BITS: Final = 1_024
"""Larger numbers are no longer read back alike by every database and JSON reader."""

STEP_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
ACTION: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
BRANCH: Final = re.compile(r"[a-z][a-z0-9_]*")
ERROR_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
OBJECT: Final = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([smhd])")
SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""Characters that PostgreSQL's jsonb refuses: NUL and lone surrogates."""

JITTERS: Final[tuple[Jitter, ...]] = ("full", "none")
IF_UNKNOWN: Final[tuple[IfUnknown, ...]] = ("repeat", "fail")

DOCUMENT_KEYS: Final = ("format", "object", "guard", "time_zone", "steps")
STEP_KEYS: Final = (
    "id",
    "action",
    "config",
    "config_version",
    "note",
    "disabled",
    "retry",
    "timeout",
    "if_unknown",
    "branches",
)
RETRY_KEYS: Final = ("attempts", "backoff", "factor", "jitter", "errors")
