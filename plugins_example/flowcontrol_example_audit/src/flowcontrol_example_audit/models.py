"""The table of the example."""

from __future__ import annotations

from django.db import models


class AuditEntry(models.Model):
    """One thing that a flow has noted about an object."""

    #: The label of the object's model and its key; empty for a run without an object.
    object_label = models.CharField(max_length=200, blank=True)
    object_key = models.CharField(max_length=200, blank=True)
    text = models.TextField()
    #: The run may be pruned before the entry is: no foreign key.
    run_uuid = models.UUIDField(db_index=True)
    #: Unique, so that a step can never note the same thing twice.
    idempotency_key = models.CharField(max_length=36, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ("id",)

    def __str__(self) -> str:
        return self.text[:80]
