"""The database that flows are written to."""

from __future__ import annotations

from django.db import router, transaction
from django.db.transaction import Atomic

from flowcontrol_core.models import Flow


def atomic() -> Atomic:
    """Give a transaction, or a savepoint inside of one, on the database of the flows."""
    return transaction.atomic(using=router.db_for_write(Flow))
