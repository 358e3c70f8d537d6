"""What happened, as a code with values: stored so, and rendered in the language of its reader.

A run says with it why it stands where it stands; each row of its history says what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.texts import storable_text

#: How the sentences name the action of a step, after the step.
_KEY = " (%(action)s)"
#: The sentence of each code. A note, which a person or an action has written, follows it.
TEXTS: Mapping[str, str | Promise] = {
    # How a run ends, waits or is blocked by itself.
    "aborted": _("Step %(step)s (%(action)s) stopped the flow."),
    "guard_false": _("The guard condition is false: %(guard)s"),
    "guard_failed": _("The guard condition failed: %(error)s"),
    "object_gone": _("The object %(object)s no longer exists."),
    "model_gone": _("The model %(model)s is no longer installed."),
    "step_failed": _("Step %(step)s (%(action)s) failed: %(error)s"),
    "step_retried": _("Step %(step)s (%(action)s) failed and will be retried: %(error)s"),
    "max_iterations": _(
        "The step %(step)s entered its branch more than %(most)s times (setting MAX_ITERATIONS). "
        "Correct its condition."
    ),
    "idle_loop": _(
        "The steps in %(step)s were called %(most)s times without changing anything. Let them wait "
        "for something, or correct its condition."
    ),
    "unknown_call": _(
        "The worker died or was interrupted during the call of step %(step)s (%(action)s), so it "
        "is unknown whether the call was made. The step says not to repeat it. Find out, then skip "
        "or retry the step."
    ),
    "missing_action": _(
        "The action %(action)s is not registered. Install or enable the plugin %(plugin)s."
    ),
    "missing_filter": _(
        "Expressions have no %(filter)s here. Install or enable the plugin that it comes from."
    ),
    "missing_secret": _(
        "Step %(step)s (%(action)s) needs the secret %(secret)s, which has no value here. Set it "
        "in the setting SECRETS or in the environment of the workers, or have a plugin return it."
    ),
    "missing_zone": _(
        "The time zone %(zone)s is not known on this machine. Install its data (`pip install "
        "tzdata`, or on Debian the package tzdata-legacy), or publish a version with another zone "
        "and move the run to it."
    ),
    "missing_migration": _(
        "The migrations of the app %(app)s are not applied (%(migrations)s). Run `%(command)s`; "
        "the run then continues by itself."
    ),
    "unusable_version": _(
        "The version of this run cannot be used: %(error)s Upgrade flowcontrol or the plugin, or "
        "publish a corrected version and move the run to it."
    ),
    "invalid_config": _(
        "The configuration of step %(step)s cannot be used: %(error)s Publish a corrected version "
        "and move the run to it, or correct the plugin."
    ),
    "yielded": _("A long run: it continues with the next sweep."),
    "damaged": _(
        "The JSON in these columns of the run is nested too deeply to be read: %(columns)s. Find "
        "out what wrote it, correct it, then retry the run."
    ),
    "error": "%(error)s",
    # What happens around it.
    "dead_lettered": _(
        "Attempts exhausted: its worker died %(attempts)s times, was interrupted, or lost the "
        "database, without reaching a checkpoint. Find out why, then retry the run."
    ),
    "flow_gone": _("The flow of this run no longer exists."),
    "flow_paused": _("The flow is paused."),
    "flow_resumed": _("The flow was resumed."),
    "parent_paused": _("The run that started this one was paused."),
    "parent_resumed": _("The run that started this one was resumed."),
    "pause_over": _("The time of the pause is over."),
    "recovered": _(
        "Execution %(attempt)s since the last checkpoint: the one before was cut short, because "
        "its worker died, was interrupted, took too long, or lost the database."
    ),
    "limit": _("The limit %(limit)s of the flow is reached (%(most)s)."),
    "limit_of_ancestor": _(
        "The limit %(limit)s of the flow is reached (%(most)s), and a run that started this one "
        "has the slot."
    ),
    "queued": _("Queued: the limit %(limit)s of the flow is reached (%(most)s)."),
    "replaced": _("Replaced by run %(run)s."),
    "parent_canceled": _("The run that started this one was canceled."),
    # What people do to it.
    "started": _("Started by hand."),
    "taken_over": _("Taken over from elsewhere, at the step %(step)s."),
    "canceled": _("Canceled."),
    "paused": _("Paused."),
    "resumed": _("Resumed."),
    "run_now": _("Run now."),
    "retried": _("The step is retried."),
    "skipped": _("The step is skipped."),
    "went_to_step": _("Sent to the step %(step)s."),
    "step_refused": _("Not sent to the step %(step)s: %(error)s"),
    "restarted_as": _("Restarted at the step %(step)s as run %(run)s."),
    "restarted_from": _("Restarted from run %(run)s at the step %(step)s."),
    "state_edited": _("The state was edited (%(keys)s)."),
    "moved": _("Moved from version %(old)s to %(new)s."),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A code of ``TEXTS`` with the values of its sentence; ``values["note"]`` follows it.

    Its text is in the language that is active when it is read. Without a code it is false.
    """

    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, code: str, note: object = "", **values: Any) -> Reason:
        """Return the reason of a code with its values, and a note if there is one."""
        return cls(code, {**values, "note": str(note)} if note else values)

    def stored(self) -> dict[str, Any]:
        """Return the values as they are stored."""
        return {
            name: storable_text(value) if isinstance(value, str) else value
            for name, value in self.values.items()
        }

    def describe(self, label_of: Callable[[str], str]) -> str:
        """Return the sentence with the label of its step, where there is one, for its id.

        ``label_of`` returns the label of a step by its id, an empty text for an unknown one.
        """
        values = self.values
        label = label_of(str(values.get("step", ""))) if hasattr(values, "get") else ""
        if not label:
            return str(self)
        # The label is that of the action, whose key tells a person nothing.
        template = str(TEXTS.get(self.code, self.code)).replace(_KEY, "")
        return self._filled(template, {**values, "step": gettext("“%(label)s”") % {"label": label}})

    def __bool__(self) -> bool:
        return bool(self.code)

    def __str__(self) -> str:
        return self._filled(TEXTS.get(self.code, self.code), self.values)

    def _filled(self, template: str | Promise, values: Mapping[str, Any]) -> str:
        try:
            return f"{str(template) % values} {values.get('note', '')}".strip()
        except (AttributeError, KeyError, TypeError, ValueError):
            # A damaged row, or one of another version: better raw than not at all.
            return f"{self.code} {self.values}"


#: Why a run is PAUSED: a person, its flow, or the run that started it.
PAUSES = ("paused", "flow_paused", "parent_paused")
#: There is nothing to say.
NO_REASON = Reason()
