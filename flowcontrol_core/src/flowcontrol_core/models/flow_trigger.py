"""What associates triggers with flows, and what remembers their events."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.models.about import AboutObject
from flowcontrol_core.models.columns import (
    JsonField,
    KeyField,
    LongTextField,
    ShortTextField,
    UtcDateTimeField,
)
from flowcontrol_core.models.flow import Flow


class Mode(models.TextChoices):
    """What a trigger does to the flow it is associated with."""

    START = "start", _("start a run")
    WAKE = "wake", _("wake the waiting runs of the object")
    GO_TO = "go_to", _("send the runs of the object to a step")


class FlowTrigger(models.Model):
    """The association of a trigger with a flow, with a condition."""

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="flow_triggers"
    )
    trigger = KeyField(_("trigger"), max_length=150, db_index=True)
    mode = models.CharField(_("mode"), max_length=10, choices=Mode.choices, default=Mode.START)
    active = models.BooleanField(_("active"), default=True)
    condition = models.CharField(
        _("condition"),
        max_length=1000,
        blank=True,
        help_text=_("Sees object and payload; empty: always."),
    )
    #: The cleaned values of the trigger's own form, in canonical form.
    config = JsonField(_("configuration"), default=dict, blank=True)
    step = models.CharField(
        _("step"),
        max_length=32,
        blank=True,
        help_text=_("For the mode that sends runs to a step: the id of the step."),
    )
    created_at = UtcDateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("flow trigger")
        verbose_name_plural = _("flow triggers")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.trigger} -> {self.flow_id}"


class TriggerEvent(AboutObject):
    """An event that some live version waits for, kept so that none is lost."""

    key = KeyField(max_length=150)
    payload = JsonField(default=dict)
    unique_key = KeyField(max_length=200, null=True, unique=True)
    created_at = UtcDateTimeField()
    #: Set until the runs that waited for it were woken.
    undelivered_since = UtcDateTimeField(null=True, db_index=True)

    class Meta:
        verbose_name = _("trigger event")
        verbose_name_plural = _("trigger events")
        ordering = ("id",)
        indexes = [models.Index(fields=["key", "created_at"], name="flowcontrol_event_key")]

    def __str__(self) -> str:
        return f"{self.key} {self.created_at:%Y-%m-%d %H:%M:%S}"


class Refusal(models.TextChoices):
    """Why a trigger did not start a run."""

    INACTIVE = "inactive", _("the flow is not active")
    UNPUBLISHED = "unpublished", _("the flow is not published")
    CONDITION = "condition", _("the condition was false")
    OBJECT = "object", _("the object is not of the flow's type")
    LIMIT = "limit", _("a limit was reached")
    DEPTH = "depth", _("flows started each other too deeply")
    FAN_OUT = "fan_out", _("more runs at once than the setting MAX_FAN_OUT allows")
    DUPLICATE = "duplicate", _("the event was seen before")
    ERROR = "error", _("an error")


class SkippedFiring(models.Model):
    """The record of a trigger that did not start a run although a flow is associated with it."""

    flow_trigger = models.ForeignKey(
        FlowTrigger, on_delete=models.CASCADE, db_constraint=False, related_name="skipped_firings"
    )
    reason = models.CharField(_("reason"), max_length=12, choices=Refusal.choices)
    #: The condition, the limit, the number or the error that the reason is about.
    detail = LongTextField(_("detail"), blank=True)
    object_text = ShortTextField(_("object"), max_length=200, blank=True)
    created_at = UtcDateTimeField(_("at"))

    class Meta:
        verbose_name = _("skipped firing")
        verbose_name_plural = _("skipped firings")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.flow_trigger_id}: {self.reason}"
