"""Runs: start, find and operate them. Each function returns a frozen ``RunInfo``, never a row.

Beside the names below there is one function for each operator action, called with a run and
keywords: ``cancel``, ``pause``, ``resume``, ``run_now``, ``retry``, ``skip``, ``go_to_step``,
``restart``, ``move`` and ``edit_state``. They come from the table ``OPERATOR_ACTIONS``.
"""

from __future__ import annotations

from flowcontrol_core.runs.operations.bulk import (
    perform_on_each,
    refusal_text,
    start_bulk_operation,
)
from flowcontrol_core.runs.operations.interventions import check_move, state_from_json
from flowcontrol_core.runs.operations.operator_actions import (
    OPERATOR_ACTIONS,
    Argument,
    OperatorAction,
)
from flowcontrol_core.runs.operations.retention import Pruned, prune
from flowcontrol_core.runs.operations.run_info import (
    OperatorFunction,
    RunInfo,
    create,
    find,
    get,
    operator_function,
    start,
)

__all__ = [
    "OPERATOR_ACTIONS",
    "Argument",
    "OperatorAction",
    "OperatorFunction",
    "Pruned",
    "RunInfo",
    "check_move",
    "create",
    "find",
    "get",
    "perform_on_each",
    "prune",
    "refusal_text",
    "start",
    "start_bulk_operation",
    "state_from_json",
]


def __getattr__(name: str) -> OperatorFunction:
    return operator_function(name)
