"""All errors that the framework raises on purpose, and those that actions may raise."""

from __future__ import annotations

from flowcontrol_core.errors import (
    ConfigError,
    DirectiveError,
    DocumentError,
    EditError,
    EffectsError,
    ExpressionError,
    FlowcontrolError,
    IllegalChangeError,
    NotStartedError,
    Problem,
    PublishError,
    RegistrationError,
    Retry,
    StaleRevisionError,
    StateError,
    StepTimeoutError,
    UnknownActionError,
    UnknownFlowError,
    UnknownRunError,
    UnknownTriggerError,
)

__all__ = [
    "ConfigError",
    "DirectiveError",
    "DocumentError",
    "EditError",
    "EffectsError",
    "ExpressionError",
    "FlowcontrolError",
    "IllegalChangeError",
    "NotStartedError",
    "Problem",
    "PublishError",
    "RegistrationError",
    "Retry",
    "StaleRevisionError",
    "StateError",
    "StepTimeoutError",
    "UnknownActionError",
    "UnknownFlowError",
    "UnknownRunError",
    "UnknownTriggerError",
]
