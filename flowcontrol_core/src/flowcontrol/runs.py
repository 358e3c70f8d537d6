"""Runs: start, find and operate them. Each function returns a frozen ``RunInfo``, never a row.

There is one function for each operator action of the table ``OPERATOR_ACTIONS``.
"""

from __future__ import annotations

from flowcontrol_core.runs.operations.bulk import (
    perform_on_each,
    refusal_text,
    start_bulk_operation,
    stop_bulk_operation,
)
from flowcontrol_core.runs.operations.bulk_starts import start_for_each, start_in_bulk
from flowcontrol_core.runs.operations.interventions import check_move, state_from_json
from flowcontrol_core.runs.operations.operator_actions import (
    OPERATOR_ACTIONS,
    Argument,
    OperatorAction,
)
from flowcontrol_core.runs.operations.retention import Pruned, prune
from flowcontrol_core.runs.operations.run_info import (
    EditState,
    GoToStep,
    OperatorFunction,
    Pause,
    Restart,
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
    "EditState",
    "GoToStep",
    "OperatorAction",
    "OperatorFunction",
    "Pause",
    "Pruned",
    "Restart",
    "RunInfo",
    "cancel",
    "check_move",
    "create",
    "edit_state",
    "find",
    "get",
    "go_to_step",
    "move",
    "operator_function",
    "pause",
    "perform_on_each",
    "prune",
    "refusal_text",
    "restart",
    "resume",
    "retry",
    "run_now",
    "skip",
    "start",
    "start_bulk_operation",
    "start_for_each",
    "start_in_bulk",
    "state_from_json",
    "stop_bulk_operation",
]

cancel: OperatorFunction = operator_function("cancel")
edit_state: EditState = operator_function("edit_state")
go_to_step: GoToStep = operator_function("go_to_step")
move: OperatorFunction = operator_function("move")
pause: Pause = operator_function("pause")
restart: Restart = operator_function("restart")
resume: OperatorFunction = operator_function("resume")
retry: OperatorFunction = operator_function("retry")
run_now: OperatorFunction = operator_function("run_now")
skip: OperatorFunction = operator_function("skip")
