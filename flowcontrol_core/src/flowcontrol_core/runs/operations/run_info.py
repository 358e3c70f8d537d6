"""Runs for code outside of the framework: frozen values in typed form, and functions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext

from flowcontrol_core.engine.codec import decode
from flowcontrol_core.errors import StateError, UnknownRunError
from flowcontrol_core.models import FlowRun, FlowVersion, Outcome, Status
from flowcontrol_core.runs.execution import start as execution_start
from flowcontrol_core.runs.execution.start import StartPlace
from flowcontrol_core.runs.operations.bulk import check_choices
from flowcontrol_core.runs.operations.operator_actions import OPERATOR_ACTIONS, perform
from flowcontrol_core.runs.store.connection import alias


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run as it stood when it was read.

    ``flow`` is the key of its flow, ``version`` the number of its version; ``state`` has its typed
    values (decimals, dates), as has ``payload``; either is empty where the stored one cannot be
    read. ``step`` is the id
    of the step it is at; ``reason`` a sentence, ``reason_code`` the same for code; ``outcome`` is
    ``None`` until it has ended. Times are aware and in UTC.
    """

    pk: int
    uuid: UUID
    flow: str
    version: int
    status: Status
    outcome: Outcome | None
    reason: str
    reason_code: str
    state: Mapping[str, Any]
    payload: Mapping[str, Any]
    step: str
    object_type: str
    object_database: str
    object_key: str | None
    object_text: str
    trigger: str
    queue: str
    parent: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None

    @property
    def is_live(self) -> bool:
        """Return whether it has not ended."""
        return self.status != Status.DONE


#: What it has from the row as it is.
_COPIED = (
    "pk", "uuid", "reason", "reason_code", "object_type", "object_database", "object_key",
    "object_text", "trigger", "queue", "created_at", "started_at", "finished_at", "due_at",
)  # fmt: skip

Run: TypeAlias = RunInfo | FlowRun | UUID | int


class OperatorFunction(Protocol):
    """An operator action as a function.

    ``by`` is who does it (a user, or a name) and ``reason`` why; both are recorded. Raises
    IllegalChangeError where it is not possible for the run as it stands.
    """

    def __call__(self, run: Run, *, by: object = "", reason: str = "") -> RunInfo: ...


class Pause(Protocol):
    """Pauses a run, and the runs that it started, until they are resumed, or until a time."""

    def __call__(
        self, run: Run, *, until: datetime | None = None, by: object = "", reason: str = ""
    ) -> RunInfo: ...


class GoToStep(Protocol):
    """Sends a run to the step with this id."""

    def __call__(self, run: Run, step: str, *, by: object = "", reason: str = "") -> RunInfo: ...


class Restart(Protocol):
    """Starts a new run at the step with this id, on the version of the run or the published one."""

    def __call__(
        self,
        run: Run,
        step: str,
        *,
        current_version: bool = False,
        by: object = "",
        reason: str = "",
    ) -> RunInfo: ...


class EditState(Protocol):
    """Replaces the state of a run."""

    def __call__(
        self, run: Run, state: Mapping[str, Any], *, by: object = "", reason: str = ""
    ) -> RunInfo: ...


def operator_function(name: str) -> Any:
    """Return the function of an operator action: one of the protocols above."""
    names = [each.name for each in OPERATOR_ACTIONS[name].arguments if each.for_one]

    def operate(
        run: Run, *values: Any, by: object = "", reason: str = "", **arguments: Any
    ) -> RunInfo:
        arguments |= dict(zip(names, values, strict=False))
        return _info(perform(name, _key_of(run), by=by, reason=reason, **arguments))

    operate.__name__ = operate.__qualname__ = name
    operate.__doc__ = OPERATOR_ACTIONS[name].function.__doc__
    return operate


def start(
    flow: str,
    obj: Model | None = None,
    state: Mapping[str, Any] | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    by: object = "",
    reason: str = "",
) -> RunInfo:
    """Create a run of the flow with this key, and execute it at once.

    Inside of a transaction it is executed after the commit. Raises as
    ``flowcontrol.engine.start_flowrun`` does.
    """
    return _info(
        execution_start.start_flowrun(flow, obj, state, payload=payload, by=by, reason=reason)
    )


def create(
    flow: str,
    obj: Model | None = None,
    state: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
    payload: Mapping[str, Any] | None = None,
    step: str = "",
    after: bool = False,
    until: datetime | None = None,
    memo: Mapping[str, Mapping[str, Any]] | None = None,
    by: object = "",
    reason: str = "",
) -> RunInfo:
    """Create a run of the flow with this key, for a later sweep (not before ``at``).

    With ``step`` it is taken over from elsewhere: it begins at the step with this id, or ``after``
    it, and not before ``until``. ``memo`` has, by the ids of the steps, what the step and those
    around it keep in ``run.memo``; a loop around the step has to be in it. Raises as
    ``flowcontrol.engine.create_flowrun`` does; NotStartedError with the reason ``step`` where the
    version has no such step or a loop is not in ``memo``; and ValueError where ``after``, ``until``
    or ``memo`` come without a step, or ``at`` with one.
    """
    who: dict[str, Any] = {"payload": payload, "by": by, "reason": reason}
    if step and at is None:
        place = StartPlace(step=step, after=after, until=until, memo=memo or {})
        return _info(execution_start.take_over(flow, obj, state, place, **who))
    if step or after or until or memo:
        raise ValueError(
            gettext("“after”, “until” and “memo” need a step, and a step needs “until”, not “at”.")
        )
    return _info(execution_start.create_flowrun(flow, obj, state, at=at, **who))


def get(run: Run) -> RunInfo:
    """Return a run as it stands now; raises UnknownRunError."""
    key = _key_of(run)
    row = FlowRun.objects.using(alias()).filter(pk=key).first()
    if row is None:
        raise UnknownRunError(key)
    return _info(row)


def find(
    flow: str = "",
    obj: Model | None = None,
    *,
    text: str = "",
    status: Status | str = "",
    outcome: Outcome | str = "",
    limit: int = 100,
) -> list[RunInfo]:
    """Return the newest runs: of a flow, about an object, in a status, with an outcome.

    With ``text`` those of them that ``FlowRun.objects.search`` finds. Raises FlowcontrolError for a
    status or an outcome that does not exist.
    """
    runs = FlowRun.objects.using(alias())
    chosen = runs.for_object(obj) if obj is not None else runs.all()
    given = {"flow__key": flow, "status": status, "outcome": outcome}
    filters = {name: value for name, value in given.items() if value}
    check_choices(filters)
    chosen = chosen.filter(**filters)
    if text:
        chosen = chosen.search(text)
    return _infos(list(chosen.order_by("-pk")[:limit]))


def _key_of(run: Run) -> int:
    if isinstance(run, int):
        return run
    if isinstance(run, RunInfo | FlowRun):
        return run.pk
    try:
        return FlowRun.objects.using(alias()).values_list("pk", flat=True).get(uuid=run)
    except (FlowRun.DoesNotExist, ValidationError):
        raise UnknownRunError(run) from None


def _info(run: FlowRun) -> RunInfo:
    return _infos([run])[0]


def _infos(runs: Sequence[FlowRun]) -> list[RunInfo]:
    versions = FlowVersion.objects.using(alias()).filter(pk__in={run.version_id for run in runs})
    names = {
        pk: (key, number) for pk, key, number in versions.values_list("pk", "flow__key", "number")
    }
    return [_built(run, *names.get(run.version_id, ("", 0))) for run in runs]


def _built(run: FlowRun, flow: str, version: int) -> RunInfo:
    top = run.cursor[-1] if isinstance(run.cursor, list) and run.cursor else {}
    return RunInfo(
        flow=flow,
        version=version,
        status=Status(run.status),
        outcome=Outcome(run.outcome) if run.outcome else None,
        state=MappingProxyType(_typed(run.state)),
        payload=MappingProxyType(_typed(run.payload)),
        step=str(top.get("step", "")) if isinstance(top, dict) else "",
        parent=run.parent_id,
        **{name: getattr(run, name) for name in _COPIED},
    )


def _typed(stored: Any) -> dict[str, Any]:
    """Return the typed values of a stored object; nothing where it is damaged."""
    try:
        return {key: decode(value) for key, value in stored.items()}
    except (AttributeError, StateError):
        return {}
