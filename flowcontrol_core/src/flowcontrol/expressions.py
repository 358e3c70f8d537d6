"""What a plugin adds to the expression language: filters and functions."""

from __future__ import annotations

from flowcontrol_core.expressions.filters import ExpressionFilter, ExpressionFunction

__all__ = ["ExpressionFilter", "ExpressionFunction"]
