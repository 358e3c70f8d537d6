"""Form fields for the configuration of actions and triggers."""

from __future__ import annotations

from flowcontrol_core.actions.fields import (
    ExpressionField,
    FlowField,
    JSONExpressionField,
    TemplateField,
    TriggerField,
    check_texts,
)
from flowcontrol_core.actions.mapping_field import MappingField
from flowcontrol_core.actions.secrets import SecretField
from flowcontrol_core.expressions.scope import RESERVED_NAMES

__all__ = [
    "RESERVED_NAMES",
    "ExpressionField",
    "FlowField",
    "JSONExpressionField",
    "MappingField",
    "SecretField",
    "TemplateField",
    "TriggerField",
    "check_texts",
]
