"""The forms about one step, and the bounds around the code of plugins."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol.flows import bounds
from flowcontrol_admin.fields import (
    DurationTextField,
    RevisionField,
    choice_field,
    place_value,
    show_seconds,
)
from flowcontrol_core.document.format import ERROR_NAME
from flowcontrol_core.document.tree import Document, Place, RetryPolicy, Step
from flowcontrol_core.errors import EditError, FlowcontrolError
from flowcontrol_core.flows.descriptions import Describer
from flowcontrol_core.flows.edits import places

logger = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_ERRORS = rf"^{ERROR_NAME.pattern}([\s,]+{ERROR_NAME.pattern})*$"


def guarded(work: Callable[[], _Value], what: str) -> _Value:
    """Do something with a plugin's form; raises EditError where the plugin's code fails."""
    try:
        return work()
    except FlowcontrolError:
        raise
    except Exception as error:
        logger.exception("The form of %s failed.", what)
        text = say(
            "The form of %(what)s failed: %(error)s. That is a fault of its plugin; the log has "
            "the details."
        )
        shown = f"{type(error).__name__}: {error}"[:300]
        raise EditError(text % {"what": what, "error": shown}) from error


class OperationForm(forms.Form):
    """What each operation carries: the revision that its author has seen."""

    revision = RevisionField()


class ShiftForm(OperationForm):
    """Up or down by one."""

    by = forms.TypedChoiceField(choices=[("-1", "up"), ("1", "down")], coerce=int)


class DisableForm(OperationForm):
    """Off or on."""

    disabled = forms.TypedChoiceField(
        choices=[("1", "off"), ("0", "on")], coerce=lambda value: value == "1"
    )


class AddForm(OperationForm):
    """An action at a place."""

    action = forms.CharField(max_length=200)
    place = forms.CharField(max_length=300)


class NoteForm(OperationForm):
    """The note of a step."""

    note = forms.CharField(
        label=_("Note"),
        max_length=bounds.NOTE_CHARACTERS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text=_("For whoever reads the flow; empty for none."),
    )


class MoveForm(OperationForm):
    """A place out of all legal ones, in reading order."""

    place = forms.ChoiceField(label=_("New place"), widget=forms.Select(attrs={"size": 12}))

    def __init__(self, *args: Any, document: Document, step: Step, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = Describer(document)
        here = document.visit(step.id).place
        choice_field(self, "place").choices = [
            (place_value(place), _named(words, place, here, step))
            for place in places(document, moving=step.id)
        ]
        self.initial.setdefault("place", place_value(here))


def _named(words: Describer, place: Place, here: Place, step: Step) -> str:
    text = words.place(place, moving=step.id)
    return say("%(place)s (where it is)") % {"place": text} if place == here else text


class PolicyForm(OperationForm):
    """What happens when a step fails or takes too long."""

    attempts = forms.IntegerField(
        label=_("Attempts"),
        min_value=1,
        max_value=bounds.ATTEMPTS,
        required=False,
        help_text=_("The first one counts too. Empty: a failure ends the run."),
    )
    backoff = DurationTextField(
        label=_("First wait"), required=False, help_text=_("Before the second attempt, as in 30s.")
    )
    factor = forms.FloatField(
        label=_("Factor"),
        min_value=1,
        max_value=1_000,
        required=False,
        help_text=_("Each further wait is that many times as long."),
    )
    jitter = forms.ChoiceField(
        label=_("Jitter"),
        choices=[("full", _("waits are spread at random")), ("none", _("waits are exact"))],
        required=False,
    )
    error_names = forms.CharField(
        label=_("Which errors"),
        required=False,
        help_text=_(
            "Names of error classes, separated by spaces, as in TimeoutError; subclasses count. "
            "Empty: any error."
        ),
        validators=[RegexValidator(_ERRORS, _("Write names such as TimeoutError."))],
    )
    timeout = DurationTextField(
        label=_("Time-out"),
        required=False,
        help_text=_("The longest time that one call may take; empty: that of the action."),
    )
    if_unknown = forms.ChoiceField(
        label=_("When nobody knows whether it took effect"),
        choices=[("repeat", _("repeat it")), ("fail", _("fail, rather than do it twice"))],
    )

    def retry(self) -> RetryPolicy | None:
        """Give the retry policy; ``None`` where there is none."""
        cleaned = self.cleaned_data
        if not cleaned["attempts"]:
            return None
        backoff, factor = cleaned["backoff"], cleaned["factor"]
        return RetryPolicy(
            attempts=cleaned["attempts"],
            backoff=RetryPolicy.BACKOFF if backoff is None else backoff,
            factor=RetryPolicy.FACTOR if factor is None else factor,
            jitter=cleaned["jitter"] or "full",
            errors=tuple(re.findall(r"[^\s,]+", cleaned["error_names"])),
        )


def policy_values(step: Step) -> dict[str, Any]:
    """Give what the policy form shows at first."""
    retry = step.retry
    return {
        "attempts": retry.attempts if retry else None,
        "backoff": show_seconds(retry.backoff if retry else RetryPolicy.BACKOFF),
        "factor": retry.factor if retry else RetryPolicy.FACTOR,
        "jitter": retry.jitter if retry else "full",
        "error_names": " ".join(retry.errors) if retry else "",
        "timeout": show_seconds(step.timeout),
        "if_unknown": step.if_unknown,
    }
