"""The operator actions: ONE table, from which the public API, bulk operations, the command line
and the admin derive. An action is safe at any time, against a running worker too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.engine.codec import storable
from flowcontrol_core.errors import FlowcontrolError, IllegalChangeError, UnknownRunError
from flowcontrol_core.models import (
    LIVE,
    FlowRun,
    Message,
    MessageKind,
    Outcome,
    Request,
    Status,
)
from flowcontrol_core.runs.operations import interventions
from flowcontrol_core.runs.operations.interventions import Intervention
from flowcontrol_core.runs.store.connection import alias, retrying
from flowcontrol_core.suggest import did_you_mean

#: ``step``: the id of a step; ``flag``: true or false; ``values``: a mapping with text keys;
#: ``time``: an aware datetime.
ArgumentKind: TypeAlias = Literal["step", "flag", "values", "time"]
Text: TypeAlias = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """What an operator action needs beside the run.

    One that is ``for_many`` False is not taken by bulk operations, and the other way round.
    """

    name: str
    kind: ArgumentKind
    label: Text
    help: Text = ""
    required: bool = True
    may_be_empty: bool = False
    for_one: bool = True
    for_many: bool = True

    def checked(self, value: Any) -> Any:
        """Return a value that fits; raises FlowcontrolError for one that does not."""
        if value is None and not self.required:
            return None
        types = {"step": str, "flag": bool, "values": Mapping, "time": datetime}
        is_empty = value in ("", {}) and not self.may_be_empty
        if is_empty or not isinstance(value, types[self.kind]):
            wanted = {
                "step": gettext("the id of a step"),
                "flag": gettext("true or false"),
                "values": gettext("keys of the state with their values"),
                "time": gettext("a date with a time"),
            }
            text = gettext("The argument “%(name)s” has to be %(wanted)s.")
            raise FlowcontrolError(text % {"name": self.name, "wanted": wanted[self.kind]})
        return _storable(value) if isinstance(value, datetime) else value


def _storable(value: datetime) -> datetime:
    try:
        return storable(value)
    except ValueError as error:
        raise FlowcontrolError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """What a person does to a run, and all that is known about it.

    ``statuses`` are those in which it is legal; of runs that are DONE, with one of ``outcomes``.
    ``is_useful`` asks what else has to be true of the run. ``why_not`` and ``why_useless`` complete
    "This is not possible: ...". ``question``, ``effect`` and ``success`` are what a page says
    before and after it; ``permission`` is a codename of ``flowcontrol_core``. ``function`` takes
    the locked row.
    """

    name: str
    label: Text
    question: Text
    effect: Text
    success: Text
    statuses: frozenset[Status]
    why_not: Text
    function: Callable[..., FlowRun]
    outcomes: frozenset[Outcome] = frozenset({Outcome.ERRORED})
    is_useful: Callable[[FlowRun], bool] = lambda run: True
    why_useless: Text = ""
    arguments: tuple[Argument, ...] = ()
    permission: str = "operate_flowrun"
    is_grave: bool = False

    @property
    def slug(self) -> str:
        """Return the name as addresses and the command line write it."""
        return self.name.replace("_", "-")

    def refusal(self, run: FlowRun) -> Text:
        """Return why it is not possible for a run as it stands; empty where it is."""
        return self.refusal_text(self.refusal_code(run))

    def refusal_code(self, run: FlowRun) -> str:
        """Return ``not_possible``, ``useless``, or an empty text where it is possible."""
        ended_otherwise = run.status == Status.DONE and run.outcome not in self.outcomes
        if run.status not in self.statuses or ended_otherwise:
            return "not_possible"
        return "" if self.is_useful(run) else "useless"

    def refusal_text(self, code: str) -> Text:
        """Return the text of a code of a refusal; empty for another code."""
        return {"not_possible": self.why_not, "useless": self.why_useless}.get(code, "")

    def checked_arguments(
        self, given: Mapping[str, Any], *, for_many: bool = False
    ) -> dict[str, Any]:
        """Return the arguments; raises FlowcontrolError for what it does not take or lacks."""
        known = {
            argument.name: argument
            for argument in self.arguments
            if (argument.for_many if for_many else argument.for_one)
        }
        for name in given:
            if name not in known:
                text = gettext("The operator action “%(action)s” takes no argument “%(name)s”.")
                raise FlowcontrolError(text % {"action": self.name, "name": name})
        checked = {name: argument.checked(given.get(name)) for name, argument in known.items()}
        return {name: value for name, value in checked.items() if value is not None}


def _is_to_pause(run: FlowRun) -> bool:
    """Return whether a run is paused, or was asked to, and has not read it yet."""
    if run.status != Status.RUNNING:
        return True
    # Without a hint there is nothing in the inbox.
    asked = Message.objects.using(alias()).filter(run_id=run.pk, kind=MessageKind.PAUSE)
    return run.request == Request.INBOX and asked.exists()


def _has_failed(run: FlowRun) -> bool:
    """Return whether a run, where it waits, does so for another try of its step."""
    cursor: Any = run.cursor
    top = cursor[-1] if isinstance(cursor, list) and cursor else None
    is_retried = isinstance(top, dict) and bool(top.get("tries"))
    return run.status != Status.WAITING or is_retried


def _has_newer_version(run: FlowRun) -> bool:
    """Return whether there is a version to move a run to; ``move`` itself checks the rest."""
    return run.flow.published_id not in (None, run.version_id)


_LIVE = frozenset(LIVE)
_ANY = frozenset(Outcome)
_STEP = Argument(name="step", kind="step", label=_("Step"))

OPERATOR_ACTIONS: Final[Mapping[str, OperatorAction]] = {
    action.name: action
    for action in (
        OperatorAction(
            name="run_now",
            label=_("Run now"),
            question=_("Continue this run at once?"),
            effect=_("The run stops waiting and continues at once."),
            success=_("The run is due now; a worker will continue it."),
            statuses=frozenset({Status.PENDING, Status.WAITING, Status.BLOCKED}),
            why_not=_("it is not waiting"),
            function=interventions.run_now,
        ),
        OperatorAction(
            name="retry",
            label=_("Retry the step"),
            question=_("Retry the step?"),
            effect=_("The step is called as if it had never been tried."),
            success=_("A worker will retry the step."),
            statuses=frozenset({Status.DONE, Status.BLOCKED, Status.WAITING}),
            why_not=_("no step of it has failed"),
            is_useful=_has_failed,
            why_useless=_("no step of it has failed"),
            function=interventions.retry,
        ),
        OperatorAction(
            name="skip",
            label=_("Skip the step"),
            question=_("Skip the step?"),
            effect=_("The run continues with the next step; this step is not executed."),
            success=_("The step is skipped; a worker will continue the run."),
            statuses=frozenset({Status.DONE, Status.BLOCKED, Status.WAITING, Status.PAUSED}),
            why_not=_("it is not at a step that failed or waits"),
            function=interventions.skip,
        ),
        OperatorAction(
            name="go_to_step",
            label=_("Go to a step"),
            question=_("Send this run to another step?"),
            effect=_("The run continues there, at its next checkpoint."),
            success=_("The run goes to that step at its next checkpoint."),
            statuses=frozenset(Status),
            why_not=_("it has ended, and not by an error"),
            arguments=(_STEP,),
            function=interventions.go_to_step,
        ),
        OperatorAction(
            name="restart",
            label=_("Restart from a step"),
            question=_("Start a new run at a step of this one?"),
            effect=_("The new run has the state and the object of this run, which stays as it is."),
            success=_("This is the new run; a worker will execute it."),
            statuses=frozenset({Status.DONE}),
            outcomes=_ANY,
            why_not=_("it has not ended"),
            arguments=(
                _STEP,
                Argument(
                    name="current_version",
                    kind="flag",
                    label=_("Use the published version of the flow"),
                    help=_("Otherwise the new run uses the version of this one."),
                    required=False,
                ),
            ),
            function=interventions.restart,
        ),
        OperatorAction(
            name="edit_state",
            label=_("Edit the state"),
            question=_("Replace the state of this run?"),
            effect=_("The run continues with the values that you enter."),
            success=_("The state was replaced."),
            statuses=frozenset(Status) - {Status.RUNNING},
            outcomes=_ANY,
            why_not=_("it is being executed"),
            arguments=(
                Argument(
                    name="state",
                    kind="values",
                    label=_("State"),
                    may_be_empty=True,
                    for_many=False,
                ),
                Argument(
                    name="changes",
                    kind="values",
                    label=_("Keys to set"),
                    help=_("The other keys of the state stay as they are."),
                    for_one=False,
                ),
            ),
            function=interventions.edit_state,
        ),
        OperatorAction(
            name="move",
            label=_("Move to the published version"),
            question=_("Move this run to the published version of its flow?"),
            effect=_("The run continues there, at the step it is at."),
            success=_("The run uses the published version now."),
            statuses=_LIVE - {Status.RUNNING},
            why_not=_("it is being executed, or has ended"),
            is_useful=_has_newer_version,
            why_useless=_("it is on the published version already"),
            function=interventions.move,
        ),
        OperatorAction(
            name="pause",
            label=_("Pause"),
            question=_("Pause this run?"),
            effect=_("The run, and the runs it started, do not continue until it is resumed."),
            success=_("The run is paused."),
            statuses=_LIVE - {Status.PAUSED},
            why_not=_("it has ended or is paused already"),
            arguments=(
                Argument(
                    name="until",
                    kind="time",
                    label=_("Until"),
                    help=_("It is resumed then. Leave empty to resume it by hand."),
                    required=False,
                ),
            ),
            function=interventions.pause,
        ),
        OperatorAction(
            name="resume",
            label=_("Resume"),
            question=_("Resume this run?"),
            effect=_(
                "The run continues, or waits on for what it was waiting for; the runs that were "
                "paused with it do too."
            ),
            success=_("The run is resumed."),
            statuses=frozenset({Status.PAUSED, Status.RUNNING}),
            why_not=_("it is not paused"),
            is_useful=_is_to_pause,
            why_useless=_("it is not paused"),
            function=interventions.resume,
        ),
        OperatorAction(
            name="cancel",
            label=_("Cancel"),
            question=_("Cancel this run?"),
            effect=_("Cancels this run and the runs it started. This cannot be undone."),
            success=_("The run is canceled."),
            statuses=_LIVE,
            why_not=_("it has ended"),
            function=interventions.cancel,
            is_grave=True,
        ),
    )
}


def get_operator_action(name: str) -> OperatorAction:
    """Return an action by its name; raises FlowcontrolError for an unknown one."""
    if name in OPERATOR_ACTIONS:
        return OPERATOR_ACTIONS[name]
    known = gettext("Possible are %(names)s.") % {"names": ", ".join(OPERATOR_ACTIONS)}
    text = gettext("There is no operator action “%(name)s”.") % {"name": name}
    raise FlowcontrolError(f"{text} {did_you_mean(name, OPERATOR_ACTIONS, known)}")


def perform(
    name: str, run: FlowRun | int, *, by: Any = "", reason: str = "", **arguments: Any
) -> FlowRun:
    """Do an operator action to a run; return it as it then stands, or the new run of a restart.

    It is recorded with who did it and why. Raises IllegalChangeError where it is not possible for
    the run as it stands, and FlowcontrolError for arguments that do not fit.
    """
    action = get_operator_action(name)
    return perform_checked(action, run, by, reason, action.checked_arguments(arguments))


@retrying
def perform_checked(
    action: OperatorAction, run: FlowRun | int, by: Any, reason: str, checked: Mapping[str, Any]
) -> FlowRun:
    """Do an operator action with arguments that it has checked; see ``perform``."""
    with transaction.atomic(using=alias()):
        row = _locked(run)
        if code := action.refusal_code(row):
            raise IllegalChangeError(
                gettext("“%(action)s” is not possible for run %(run)s: %(why)s (%(status)s).")
                % {
                    "action": action.label,
                    "run": row.pk,
                    "why": action.refusal_text(code),
                    "status": row.get_outcome_display() or row.get_status_display(),
                },
                code=code,
                values={"status": row.status, "outcome": row.outcome},
            )
        return action.function(row, Intervention.of(by, reason), **checked)


def _locked(run: FlowRun | int) -> FlowRun:
    pk = run if isinstance(run, int) else run.pk
    row = FlowRun.objects.using(alias()).select_for_update(of=()).filter(pk=pk).first()
    if row is None:
        raise UnknownRunError(pk)
    return row


def cancel_flowrun(run: FlowRun | int, *, by: Any = "", reason: str = "") -> FlowRun:
    """End a run as CANCELED, its children with it; return it as it then stands.

    Raises IllegalChangeError where it has ended.
    """
    return perform("cancel", run, by=by, reason=reason)
