"""The table of the example."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class AuditEntry(models.Model):
    """A text that a flow has recorded about an object."""

    #: The label of the object's model and its key; empty for a run without an object.
    object_label = models.CharField(max_length=200, blank=True)
    object_key = models.CharField(max_length=200, blank=True)
    text = models.TextField()
    #: The run may be pruned before the entry is: no foreign key.
    run_uuid = models.UUIDField(db_index=True)
    #: Unique, so that no step can record the same entry twice.
    idempotency_key = models.CharField(max_length=36, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ("id",)

    def __str__(self) -> str:
        return self.text[:80]
