"""Form fields for the configuration of actions and triggers."""

from __future__ import annotations

from flowcontrol_core.expressions.scope import RESERVED_NAMES
from flowcontrol_core.plugins.fields import (
    ExpressionField,
    FlowField,
    JSONExpressionField,
    TemplateField,
    TriggerField,
    check_texts,
)
from flowcontrol_core.plugins.mapping import MappingField

__all__ = [
    "RESERVED_NAMES",
    "ExpressionField",
    "FlowField",
    "JSONExpressionField",
    "MappingField",
    "TemplateField",
    "TriggerField",
    "check_texts",
]
