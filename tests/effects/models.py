"""What actions have done."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """One execution of an action. Nothing is unique: the protocol has to hold by itself."""

    run = models.UUIDField()
    label = models.CharField(max_length=50)
    object_key = models.CharField(max_length=200, blank=True)
    #: The process that did it.
    worker = models.IntegerField()
    attempt = models.IntegerField()
    idempotency_key = models.CharField(max_length=200)

    objects: models.Manager[Effect] = models.Manager()

    class Meta:
        # The tests' own process reads the table too, where the app is not installed.
        app_label = "effects"
        indexes = [models.Index(fields=["run", "label"], name="effects_run_label")]

    def __str__(self) -> str:
        return f"{self.label} of {self.run} by {self.worker}"
