"""What operating needs: who works, what is done in bulk, and which slots are spent for good."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.models.columns import JsonField, KeyField


class Worker(models.Model):
    """A process that executes runs, as it last said of itself."""

    name = KeyField(_("name"), max_length=100, unique=True)
    host = models.CharField(_("host"), max_length=100)
    pid = models.PositiveIntegerField(_("process"))
    queues = models.CharField(_("queues"), max_length=500, blank=True)
    #: ``{"flowcontrol-core": "0.1.0", ...}``: the distributions that it has loaded.
    plugins = JsonField(_("plugins"), default=dict)
    started_at = models.DateTimeField(_("started at"))
    last_sweep_at = models.DateTimeField(_("last sweep at"), db_index=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class BulkOperation(models.Model):
    """A verb done to many runs, bit by bit, by the sweeps."""

    verb = models.CharField(_("verb"), max_length=20)
    #: What chooses the runs: see ``runtime.jobs.FILTERS``.
    filters = JsonField(_("filters"), default=dict)
    arguments = JsonField(default=dict)
    actor = models.CharField(_("by"), max_length=200, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    #: Runs with a greater primary key were created after it, and are not its business.
    up_to = models.PositiveBigIntegerField()
    #: How far it has come.
    last = models.PositiveBigIntegerField(default=0)
    done = models.PositiveIntegerField(_("done"), default=0)
    refused = models.PositiveIntegerField(_("refused"), default=0)
    #: Why runs were refused: the first of each kind, ``{sentence: number}``.
    refusals = JsonField(_("refusals"), default=dict)
    created_at = models.DateTimeField(_("created at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, db_index=True)

    class Meta:
        verbose_name = _("bulk job")
        verbose_name_plural = _("bulk jobs")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.verb} #{self.pk}"


class FlowEvent(models.Model):
    """One thing that somebody did to a flow as a whole, or to all of them.

    It names the flow by its key, so that it tells of a deleted flow too.
    """

    #: Empty where all flows are meant.
    key = KeyField(_("flow"), max_length=100, blank=True)
    verb = models.CharField(_("what"), max_length=20)
    #: What came of it, and why it was done.
    message = models.TextField(_("message"), blank=True)
    actor = models.CharField(_("by"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("flow event")
        verbose_name_plural = _("flow events")
        ordering = ("id",)
        indexes = [models.Index(fields=["key", "id"], name="flowcontrol_flow_event")]

    def __str__(self) -> str:
        return f"{self.verb} {self.key}".strip()


class ConsumedSlot(models.Model):
    """A slot of the limit that counts all runs ever, whose run has been pruned."""

    digest = models.CharField(max_length=64, primary_key=True)

    class Meta:
        verbose_name = _("spent slot")
        verbose_name_plural = _("spent slots")

    def __str__(self) -> str:
        return self.digest
