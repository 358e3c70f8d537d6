"""The document of a flow: a tree of steps that never changes, from and to JSON."""

from __future__ import annotations

from flowcontrol_core.document.diff import Diff, diff
from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step, Visit

__all__ = ["Diff", "Document", "Place", "RetryPolicy", "Step", "Visit", "diff", "parse", "to_data"]
