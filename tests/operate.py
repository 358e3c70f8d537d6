"""The operator actions as functions that return the row of the run, as tests need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.operations.operator_actions import perform

Run = FlowRun | int


def cancel(run: Run, **who: Any) -> FlowRun:
    return perform("cancel", run, **who)


def pause(run: Run, **who: Any) -> FlowRun:
    return perform("pause", run, **who)


def resume(run: Run, **who: Any) -> FlowRun:
    return perform("resume", run, **who)


def run_now(run: Run, **who: Any) -> FlowRun:
    return perform("run_now", run, **who)


def retry(run: Run, **who: Any) -> FlowRun:
    return perform("retry", run, **who)


def skip(run: Run, **who: Any) -> FlowRun:
    return perform("skip", run, **who)


def go_to_step(run: Run, step: str, **who: Any) -> FlowRun:
    return perform("go_to_step", run, step=step, **who)


def restart(run: Run, step: str, *, current_version: bool = False, **who: Any) -> FlowRun:
    return perform("restart", run, step=step, current_version=current_version, **who)


def edit_state(run: Run, state: Mapping[str, Any], **who: Any) -> FlowRun:
    return perform("edit_state", run, state=state, **who)


def move(run: Run, **who: Any) -> FlowRun:
    return perform("move", run, **who)
