"""Flow runs, their history and their inbox.

References from and to runs carry no foreign key constraint in the database: on MariaDB inserting
a child row locks its parent row, so that a run created inside of a caller's transaction would lock
its flow, and a message to a run would wait for the run's own step. Django keeps them consistent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from flowcontrol_core.models.about import AboutObject, about_object
from flowcontrol_core.models.columns import JsonField, KeyField, ShortTextField, UtcDateTimeField
from flowcontrol_core.models.flow import Flow, FlowVersion
from flowcontrol_core.models.reasons import Reason
from flowcontrol_core.models.search import RunSearch


class Status(models.TextChoices):
    """Where a run is in its life."""

    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    PAUSED = "paused", _("paused")
    BLOCKED = "blocked", _("blocked")
    DONE = "done", _("done")


#: Named one by one, for queries: no index helps with "not DONE".
LIVE = tuple(status for status in Status if status != Status.DONE)


class Outcome(models.TextChoices):
    """How a run that is DONE ended."""

    COMPLETE = "complete", _("complete")
    ABORTED = "aborted", _("aborted")
    ERRORED = "errored", _("errored")
    OBSOLETE = "obsolete", _("obsolete")
    CANCELED = "canceled", _("canceled")


class Request(models.TextChoices):
    """What a running run is asked to do at its next checkpoint."""

    NONE = "", "-"
    INBOX = "inbox", _("read the inbox")
    CANCEL = "cancel", _("cancel")


class FlowRunQuerySet(models.QuerySet["FlowRun"]):
    """The questions that are asked about runs; each is answered by an index."""

    def live(self) -> FlowRunQuerySet:
        """Return the runs that are not DONE."""
        return self.filter(status__in=LIVE)

    def for_object(self, obj: models.Model) -> FlowRunQuerySet:
        """Return the runs that belong to a model object."""
        return self.filter(**about_object(obj))

    def search(self, text: str, may_search: Callable[[str], bool] | None = None) -> FlowRunQuerySet:
        """Return the runs that a text names: at most MOST_FOUND, the newest.

        It is the number of a run, its UUID or 8 digits of its beginning, or more; the key of an
        object or, where none has that key, its beginning; the key or the name of a flow. Where it
        is nothing of this, the runs whose object's text has all its words are found among the
        newest MOST_READ. A hit tells of an object: those of a model are searched where
        ``may_search`` returns true for its label, such as ``shop.order``; by default all.

        The database is asked at once, for the primary keys: together with the order and the
        limit of a list, a planner may read the whole table instead of the index.
        """
        return self.filter(pk__in=RunSearch(self, text, may_search).keys())

    def get_by_natural_key(self, key: str) -> FlowRun:
        """Return the run with this UUID."""
        return self.get(uuid=key)


class FlowRun(AboutObject):
    """One execution of one version of a flow; written only by the engine."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    flow = models.ForeignKey(
        Flow,
        verbose_name=_("flow"),
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="runs",
    )
    version = models.ForeignKey(
        FlowVersion,
        verbose_name=pgettext_lazy("of a flow", "version"),
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="runs",
    )
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, blank=True)
    #: Why it is in this status, or ended with this outcome: see ``reasons``.
    reason_code = models.CharField(_("reason"), max_length=30, blank=True, default="")
    reason_values = JsonField(default=dict)
    cursor = JsonField(_("cursor"), default=list)
    state = JsonField(_("state"), default=dict)
    sequence = models.PositiveBigIntegerField(_("steps finished"), default=0)

    object_text = ShortTextField(_("object"), max_length=200, blank=True)

    #: When a worker has to see the run: its due time, or while it runs the expiry of its lease.
    due_at = UtcDateTimeField(_("next check"), null=True)
    #: The present lease's number: a checkpoint of an older one fails.
    fence = models.PositiveBigIntegerField(_("fence"), default=0)
    #: Executions that were started since the last checkpoint.
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    worker = models.CharField(_("worker"), max_length=100, blank=True)
    request = models.CharField(max_length=10, choices=Request.choices, blank=True, default="")

    wait_until = UtcDateTimeField(_("waits until"), null=True)
    wait_timeout = UtcDateTimeField(_("times out at"), null=True)
    wait_trigger = KeyField(_("waits for trigger"), max_length=150, null=True)
    wait_match_object = models.BooleanField(default=False)
    wait_child = models.UUIDField(_("waits for run"), null=True)
    #: The events this run has taken, so that each wakes it once.
    events_taken = JsonField(default=list)
    #: The key of what is missing, such as an action, while BLOCKED on it.
    blocked_on = KeyField(_("blocked on"), max_length=150, null=True)

    #: Since when it waits for a free slot, while PENDING in the queue of a limit.
    queued_at = UtcDateTimeField(_("queued since"), null=True)
    #: Set when it ended, until the run that started it has been woken.
    undelivered_since = UtcDateTimeField(null=True, db_index=True)

    parent = models.ForeignKey(
        "self",
        verbose_name=_("started by run"),
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="children",
    )
    depth = models.PositiveIntegerField(_("depth"), default=0)
    #: The run that this one was restarted from.
    origin = models.ForeignKey(
        "self",
        verbose_name=_("restarted from run"),
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="successors",
    )
    #: The flow's queue when the run was created: a claim joins no other table.
    queue = KeyField(_("queue"), max_length=50, default="default")
    trigger = KeyField(_("trigger"), max_length=150, blank=True)
    payload = JsonField(_("payload"), default=dict)

    #: Unique slots, one for each kind of limit: a digest of flow, limit, object and number.
    slot = models.CharField(max_length=64, null=True, editable=False)
    slot_object = models.CharField(max_length=64, null=True, editable=False)
    slot_ever = models.CharField(max_length=64, null=True, editable=False)

    created_at = UtcDateTimeField(_("created at"))
    started_at = UtcDateTimeField(_("started at"), null=True)
    finished_at = UtcDateTimeField(_("finished at"), null=True)
    #: When the present status was reached.
    since = UtcDateTimeField(_("since"))

    objects = FlowRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("flow run")
        verbose_name_plural = _("flow runs")
        ordering = ("-id",)
        permissions = [("operate_flowrun", "Can cancel, retry, skip, pause and resume a run")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status=Status.DONE) ^ Q(outcome=""), name="flowcontrol_run_outcome"
            ),
            # Not ``unique=True``: that makes a second index on PostgreSQL, for LIKE.
            models.UniqueConstraint(fields=["slot"], name="flowcontrol_run_slot"),
            models.UniqueConstraint(fields=["slot_object"], name="flowcontrol_run_slot_object"),
            models.UniqueConstraint(fields=["slot_ever"], name="flowcontrol_run_slot_ever"),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], name="flowcontrol_run_due"),
            models.Index(fields=["queue", "due_at", "id"], name="flowcontrol_run_queue"),
            models.Index(fields=["flow", "status", "finished_at"], name="flowcontrol_run_flow"),
            models.Index(
                fields=["object_type", "object_key", "object_database", "status", "flow"],
                name="flowcontrol_run_object",
            ),
            models.Index(fields=["version", "status"], name="flowcontrol_run_version"),
            models.Index(fields=["wait_trigger"], name="flowcontrol_run_trigger"),
            models.Index(fields=["wait_child"], name="flowcontrol_run_child"),
            models.Index(fields=["blocked_on"], name="flowcontrol_run_blocked"),
            models.Index(fields=["status", "outcome", "since"], name="flowcontrol_run_status"),
        ]

    def __str__(self) -> str:
        return f"{self.flow} #{self.pk}"

    def natural_key(self) -> tuple[str]:
        return (str(self.uuid),)

    natural_key.dependencies = ["flowcontrol_core.flowversion"]  # type: ignore[attr-defined]

    @property
    def is_live(self) -> bool:
        """Return whether the run has not ended."""
        return self.status != Status.DONE

    @property
    def reason(self) -> str:
        """Return why it is in this status, in the language of the reader."""
        return str(self.explanation)

    @property
    def explanation(self) -> Reason:
        """Return why it is in this status, for code."""
        return Reason(self.reason_code, self.reason_values)


class EventKind(models.TextChoices):
    """What a history row is about."""

    STEPS = "steps", _("steps")
    SUSPENDED = "suspended", _("suspended")
    ENDED = "ended", _("ended")
    FAILED = "failed", _("failed")
    BLOCKED = "blocked", _("blocked")
    RECOVERED = "recovered", _("recovered")
    OPERATOR = "operator", _("operator")
    REFUSED = "refused", _("refused")


class RunEvent(models.Model):
    """One checkpoint in the history of a run: the steps that it covers, or what was done to it."""

    run = models.ForeignKey(
        FlowRun, on_delete=models.CASCADE, db_constraint=False, related_name="events"
    )
    at = UtcDateTimeField(_("at"))
    kind = models.CharField(_("kind"), max_length=10, choices=EventKind.choices)
    #: One entry a step: see ``engine.history``.
    steps = JsonField(_("steps"), default=list)
    #: What happened: see ``reasons``.
    code = models.CharField(_("message"), max_length=30, blank=True, default="")
    values = JsonField(default=dict)
    #: ``{"type", "message", "traceback", "step", "action"}`` of a failure.
    error = JsonField(_("error"), null=True)
    actor = ShortTextField(_("by"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("run event")
        verbose_name_plural = _("run events")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.at:%Y-%m-%d %H:%M:%S}"

    @property
    def message(self) -> str:
        """Return what happened, in the language of the reader."""
        return str(self.explanation)

    @property
    def explanation(self) -> Reason:
        """Return what happened, for code."""
        return Reason(self.code, self.values)


class MessageKind(models.TextChoices):
    """What a message in a run's inbox asks for."""

    WAKE = "wake", _("wake")
    GO_TO = "go_to", _("go to a step")
    CANCEL = "cancel", _("cancel")
    PAUSE = "pause", _("pause")
    RESUME = "resume", _("resume")
    CHECK = "check", _("check the guard")


class Message(models.Model):
    """A request to a run, inserted by anyone, read by the worker that has the run."""

    run = models.ForeignKey(
        FlowRun, on_delete=models.CASCADE, db_constraint=False, related_name="inbox"
    )
    kind = models.CharField(max_length=10, choices=MessageKind.choices)
    data = JsonField(default=dict)
    actor = ShortTextField(max_length=200, blank=True)
    created_at = UtcDateTimeField()
    #: Set until the run was notified; never where that happens in the same transaction.
    undelivered_since = UtcDateTimeField(null=True, db_index=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} -> {self.run_id}"
