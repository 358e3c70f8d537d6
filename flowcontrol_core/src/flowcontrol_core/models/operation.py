"""What operating needs: workers, bulk operations, the history of flows, and consumed slots."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.models.columns import (
    JsonField,
    KeyField,
    LongTextField,
    ShortTextField,
    UtcDateTimeField,
)


class Worker(models.Model):
    """A process that executes runs, as of its last heartbeat."""

    name = KeyField(_("name"), max_length=100, unique=True)
    host = ShortTextField(_("host"), max_length=100)
    pid = models.PositiveIntegerField(_("process"))
    queues = ShortTextField(_("queues"), max_length=500, blank=True)
    #: ``{"flowcontrol-core": "0.1.0", ...}``: the distributions that it has loaded.
    plugins = JsonField(_("plugins"), default=dict)
    started_at = UtcDateTimeField(_("started at"))
    last_sweep_at = UtcDateTimeField(_("last sweep at"), db_index=True)
    #: Whether it claims runs: not while its heartbeat has no connection to the database.
    claims = models.BooleanField(_("executes runs"), default=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Handout(models.Model):
    """How far the due runs of a queue were handed to Celery: they wait there."""

    queue = KeyField(_("queue"), max_length=50, unique=True)
    #: What was due then was handed out; what has become due since was not.
    up_to = UtcDateTimeField()
    #: When all that was due was handed out last: the messages expire.
    since = UtcDateTimeField()

    class Meta:
        verbose_name = _("handout")
        verbose_name_plural = _("handouts")

    def __str__(self) -> str:
        return str(self.queue)


class BulkOperation(models.Model):
    """An operator action on many runs, or a start for many objects, done in chunks by the sweeps.

    For a start, ``arguments`` name the flow and the objects, and ``last`` counts those that it has
    done.
    """

    #: Stands for a start in the place of an operator action.
    START: ClassVar[str] = "start"

    #: The name of the operator action (see ``runs.operations.operator_actions``), or ``start``.
    operator_action = models.CharField(_("operator action"), max_length=20)
    #: What chooses the runs: see ``runs.operations.bulk.FILTERS``.
    filters = JsonField(_("filters"), default=dict)
    arguments = JsonField(default=dict)
    actor = ShortTextField(_("by"), max_length=200, blank=True)
    note = LongTextField(_("reason"), blank=True)
    #: Runs with a greater primary key were created after it, and are left alone.
    up_to = models.PositiveBigIntegerField()
    #: The primary key of the last run that it has done.
    last = models.PositiveBigIntegerField(default=0)
    done = models.PositiveIntegerField(_("done"), default=0)
    refused = models.PositiveIntegerField(_("refused"), default=0)
    #: With how many an error occurred that did not refuse it: a bug, which the log has.
    failed = models.PositiveIntegerField(_("failed"), default=0)
    #: Why they were not done: ``{"code", "values", "count"}`` of each kind, the first ones.
    refusals = JsonField(_("refusals"), default=list)
    #: How many it was about at its beginning; None where they were not counted.
    total = models.PositiveIntegerField(_("total"), null=True)
    #: Who has stopped it before its end.
    stopped_by = ShortTextField(_("stopped by"), max_length=200, blank=True)
    created_at = UtcDateTimeField(_("created at"))
    finished_at = UtcDateTimeField(_("finished at"), null=True, db_index=True)

    class Meta:
        verbose_name = _("bulk operation")
        verbose_name_plural = _("bulk operations")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.operator_action} #{self.pk}"

    @property
    def is_start(self) -> bool:
        """Return whether it starts a flow for many objects."""
        return self.operator_action == self.START

    @property
    def processed(self) -> int:
        """Return how many it has dealt with so far: done, refused or failed."""
        return self.done + self.refused + self.failed


class FlowOperation(models.TextChoices):
    """What people do to a flow as a whole; ``PRUNE`` is done to all of them."""

    CREATE = "create", _("Created")
    CHANGE = "change", _("Changed")
    PUBLISH = "publish", _("Published")
    ACTIVATE = "activate", _("Activated")
    DEACTIVATE = "deactivate", _("Deactivated")
    PAUSE = "pause", _("Paused")
    RESUME = "resume", _("Resumed")
    DELETE = "delete", _("Deleted")
    PRUNE = "prune", _("Pruned")


_DETAILS: dict[str, str | Promise] = {
    FlowOperation.CHANGE: _("Fields: %(fields)s."),
    FlowOperation.PUBLISH: _("Version %(version)s."),
    FlowOperation.DELETE: _("Runs deleted with it: %(runs)s."),
    FlowOperation.PRUNE: _("Runs: %(runs)s; history rows: %(history)s."),
}


class FlowEvent(models.Model):
    """One operation on a flow, or on all of them.

    It names the flow by its key, so that the history of a deleted flow stays.
    """

    #: Empty where all flows are meant.
    key = KeyField(_("flow"), max_length=100, blank=True)
    operation = models.CharField(_("operation"), max_length=20, choices=FlowOperation.choices)
    #: What it did, such as ``{"version": 3}`` or ``{"fields": ["name"]}``.
    values = JsonField(default=dict)
    note = LongTextField(_("reason"), blank=True)
    actor = ShortTextField(_("by"), max_length=200, blank=True)
    at = UtcDateTimeField(_("at"))

    class Meta:
        verbose_name = _("flow event")
        verbose_name_plural = _("flow events")
        ordering = ("id",)
        indexes = [models.Index(fields=["key", "id"], name="flowcontrol_flow_event")]

    def __str__(self) -> str:
        return f"{self.operation} {self.key}".strip()

    @property
    def message(self) -> str:
        """Return what it did, and why, in the language of the reader."""
        try:
            detail = str(_DETAILS.get(self.operation, "")) % self.values if self.values else ""
        except (KeyError, TypeError, ValueError):
            # A damaged row: better raw than not at all.
            detail = str(self.values)
        return f"{detail} {self.note}".strip()


class ConsumedSlot(models.Model):
    """A slot of the limit that counts all runs ever, whose run has been pruned."""

    digest = models.CharField(max_length=64, primary_key=True)

    class Meta:
        verbose_name = _("consumed slot")
        verbose_name_plural = _("consumed slots")

    def __str__(self) -> str:
        return self.digest
