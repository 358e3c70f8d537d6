"""The table of the ledger."""

from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """A line of the ledger."""

    text = models.CharField(max_length=50)
    note = models.CharField(max_length=50, default="")

    def __str__(self) -> str:
        return self.text
