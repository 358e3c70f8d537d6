"""A flow as a document: parse, validate, digest, compare and edit. Values in, values out."""

from __future__ import annotations

from .diff import (
    ABSENT,
    AddedStep,
    ChangedStep,
    Diff,
    FieldChange,
    MovedStep,
    RemovedStep,
    diff,
)
from .digest import canonical_json, digest
from .document import (
    Document,
    IfUnknown,
    Jitter,
    Place,
    RetryPolicy,
    Step,
    Visit,
    count_steps,
)
from .editing import (
    add_step,
    annotate_step,
    configure_step,
    delete_step,
    duplicate_step,
    move_step,
    new_step_id,
    place_of,
    set_disabled,
    set_options,
    set_policy,
    shift_step,
)
from .parsing import parse
from .places import BranchNames, legal_places
from .rules import MAX_BYTES, MAX_DEPTH, MAX_GUARD, MAX_NOTE, MAX_STEPS
from .serializing import to_data
from .values import to_seconds

__all__ = [
    "ABSENT",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_GUARD",
    "MAX_NOTE",
    "MAX_STEPS",
    "AddedStep",
    "BranchNames",
    "ChangedStep",
    "Diff",
    "Document",
    "FieldChange",
    "IfUnknown",
    "Jitter",
    "MovedStep",
    "Place",
    "RemovedStep",
    "RetryPolicy",
    "Step",
    "Visit",
    "add_step",
    "annotate_step",
    "canonical_json",
    "configure_step",
    "count_steps",
    "delete_step",
    "diff",
    "digest",
    "duplicate_step",
    "legal_places",
    "move_step",
    "new_step_id",
    "parse",
    "place_of",
    "set_disabled",
    "set_options",
    "set_policy",
    "shift_step",
    "to_data",
    "to_seconds",
]
