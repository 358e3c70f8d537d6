"""Flows and their versions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import bounds
from flowcontrol_core.errors import EditError
from flowcontrol_core.models.columns import (
    JsonField,
    KeyField,
    LongTextField,
    ShortTextField,
    UtcDateTimeField,
)
from flowcontrol_core.zones import find_zone


class LimitPolicy(models.TextChoices):
    """What happens to a run when a limit is reached."""

    SKIP = "skip", _("skip: the new run ends at once, with the reason")
    QUEUE = "queue", _("queue: the new run waits for a free slot")
    REPLACE = "replace", _("replace: the oldest live run is canceled")


def _limit(text: Any, help_text: Any) -> models.PositiveIntegerField[int | None, int | None]:
    return models.PositiveIntegerField(
        text,
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(bounds.LIMIT)],
        help_text=help_text,
    )


def _policy(text: Any) -> models.CharField[str, str]:
    return models.CharField(
        text, max_length=10, choices=LimitPolicy.choices, default=LimitPolicy.SKIP
    )


class FlowManager(models.Manager["Flow"]):
    """Finds a flow by what fixtures name it with."""

    def get_by_natural_key(self, key: str) -> Flow:
        """Return the flow with this key."""
        return self.get(key=key)


class Flow(models.Model):
    """A named automation: its key, its limits, whether it is active, and its versions."""

    key = KeyField(
        _("key"),
        max_length=100,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9][a-z0-9_-]*$",
                _("Use lower-case letters, digits, hyphens and underscores."),
            )
        ],
        help_text=_("The name by which code, other flows and exports refer to it."),
    )
    name = ShortTextField(_("name"), max_length=200)
    description = LongTextField(_("description"), blank=True)
    active = models.BooleanField(
        _("active"), default=False, help_text=_("Only an active, published flow starts runs.")
    )
    paused = models.BooleanField(
        _("paused"), default=False, help_text=_("Runs that become due are paused instead.")
    )
    max_concurrent = _limit(_("runs at once"), _("At most this many unfinished runs."))
    max_concurrent_policy = _policy(_("when the limit is reached"))
    max_concurrent_per_object = _limit(
        _("runs at once per object"), _("At most this many unfinished runs for one object.")
    )
    max_concurrent_per_object_policy = _policy(_("when the limit per object is reached"))
    max_per_object = _limit(
        _("runs per object, ever"), _("Counts finished runs too; a further one is skipped.")
    )
    queue = KeyField(
        _("queue"),
        max_length=50,
        default="default",
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
                _("Use letters, digits, dots, hyphens and underscores."),
            )
        ],
        help_text=_("Which workers execute its runs; on Celery the name of the queue."),
    )
    retention_days = models.PositiveIntegerField(
        _("days to keep finished runs"),
        null=True,
        blank=True,
        help_text=_("Older ones are pruned. Leave empty to use the project setting."),
    )
    retention_runs = models.PositiveIntegerField(
        _("finished runs to keep"),
        null=True,
        blank=True,
        help_text=_(
            "Keep at most this many (newest first). Leave empty to use the project setting."
        ),
    )
    published = models.ForeignKey(
        "FlowVersion",
        verbose_name=_("published version"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_at = UtcDateTimeField(_("created at"), auto_now_add=True)
    updated_at = UtcDateTimeField(_("updated at"), auto_now=True)

    objects = FlowManager()

    class Meta:
        verbose_name = _("flow")
        verbose_name_plural = _("flows")
        ordering = ("name", "id")
        permissions = [
            ("publish_flow", "Can publish a flow"),
            ("activate_flow", "Can activate, deactivate, pause and resume a flow"),
            ("start_flow", "Can start a run of a flow"),
            ("use_secret", "Can choose the secrets of steps"),
        ]

    def __str__(self) -> str:
        return str(self.name)

    def natural_key(self) -> tuple[str]:
        return (self.key,)

    @property
    def zone(self) -> tzinfo:
        """Return the time zone of the published version; raises UnknownZoneError."""
        return find_zone(self.published.time_zone if self.published else None)

    @property
    def has_limits(self) -> bool:
        """Return whether any limit is set."""
        return any((self.max_concurrent, self.max_per_object, self.max_concurrent_per_object))

    def policy_of(self, limit: str) -> LimitPolicy:
        """Return what happens to a run when one of the limits is reached.

        A slot of the one that counts all runs ever is never free again: there, it is skipped.
        """
        if limit == "max_per_object":
            return LimitPolicy.SKIP
        return LimitPolicy(getattr(self, f"{limit}_policy"))

    @property
    def has_queue(self) -> bool:
        """Return whether a run may wait for the slot of another."""
        return any(
            getattr(self, limit) is not None and self.policy_of(limit) != LimitPolicy.SKIP
            for limit in ("max_concurrent", "max_concurrent_per_object")
        )


class FlowVersionManager(models.Manager["FlowVersion"]):
    """Finds a version by what fixtures name it with."""

    def get_by_natural_key(self, key: str, number: int) -> FlowVersion:
        """Return the version of the flow with this key that has this number."""
        return self.get(flow__key=key, number=number)


class FlowVersion(models.Model):
    """A document: a draft that is being edited, or a published one that never changes."""

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="versions"
    )
    number = models.PositiveIntegerField(_("number"))
    document = JsonField(_("document"), default=dict)
    digest = models.CharField(_("digest"), max_length=64, editable=False)
    #: The label of the model of its objects; it and the next two are known without reading it.
    object_type = models.CharField(max_length=200, blank=True, default="", editable=False)
    #: The name of the time zone of its flow; empty for that of the site.
    time_zone = models.CharField(max_length=100, blank=True, default="", editable=False)
    #: The keys of the triggers its steps wait for, one a line; written when it is published.
    waits_for = models.TextField(blank=True, default="", editable=False)
    #: Whether it has a guard; written when it is published, too.
    guarded = models.BooleanField(default=False, editable=False)
    #: Set while it is the draft: unique, so that a flow has one draft at most, on any database.
    draft_of = models.OneToOneField(
        Flow, null=True, editable=False, on_delete=models.CASCADE, related_name="draft"
    )
    #: Grows with each change of the draft; an edit names the one it was made on.
    revision = models.PositiveIntegerField(_("revision"), default=1)
    #: A name, not a reference: the users may be in another database.
    author = ShortTextField(_("author"), max_length=bounds.ACTOR_CHARACTERS, blank=True)
    created_at = UtcDateTimeField(_("created at"), auto_now_add=True)
    updated_at = UtcDateTimeField(_("updated at"), auto_now=True)
    published_at = UtcDateTimeField(_("published at"), null=True)

    objects = FlowVersionManager()

    class Meta:
        verbose_name = _("flow version")
        verbose_name_plural = _("flow versions")
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["flow", "number"], name="flowcontrol_version_number")
        ]

    def __str__(self) -> str:
        return f"{self.flow} v{self.number}"

    #: What runs in flight rely on: never changes once the version is published.
    FROZEN = ("flow_id", "number", "document", "digest", "draft_of_id", "published_at")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises EditError for a change of a published version."""
        self._refuse_change(kwargs.get("update_fields"))
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises EditError for the version that new runs of its flow start on."""
        if Flow.objects.filter(published=self).exists():
            text = gettext(
                "%(version)s is the published version of its flow and cannot be deleted. Publish "
                "another one first, or delete the flow."
            )
            raise EditError(text % {"version": self})
        return super().delete(*args, **kwargs)

    def natural_key(self) -> tuple[str, int]:
        return (self.flow.key, self.number)

    natural_key.dependencies = ["flowcontrol_core.flow"]  # type: ignore[attr-defined]

    @property
    def is_draft(self) -> bool:
        """Return whether it may still be edited."""
        return self.published_at is None

    def _refuse_change(self, update_fields: Iterable[str] | None) -> None:
        written = None if update_fields is None else set(update_fields)
        names = [
            name
            for name in self.FROZEN
            if written is None or name in written or name.removesuffix("_id") in written
        ]
        if self._state.adding or not names:
            return
        stored = FlowVersion.objects.filter(pk=self.pk, published_at__isnull=False)
        for values in stored.values(*names):
            changed = [name for name in names if getattr(self, name) != values[name]]
            if changed:
                text = gettext(
                    "%(version)s is published and never changes (%(fields)s). Edit the draft of "
                    "its flow instead."
                )
                raise EditError(text % {"version": self, "fields": ", ".join(changed)})
