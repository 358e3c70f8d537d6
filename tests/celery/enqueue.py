"""A process that starts runs, each in a transaction of its own, and says how long it took.

Arguments: how many, and how many more whose transaction is rolled back.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import django

# As the package of a project does, so that it is the current app.
import tests.celery.app  # noqa: F401


class Undone(Exception):
    """Rolls a transaction back."""


def main(committed: str, undone: str) -> None:
    django.setup()

    from django.db import transaction

    from flowcontrol.engine import create_flowrun

    begun = time.monotonic()
    for _ in range(int(committed)):
        create_flowrun("flow")
    for _ in range(int(undone)):
        with suppress(Undone), transaction.atomic():
            create_flowrun("flow")
            raise Undone
    sys.stdout.write(f"seconds: {time.monotonic() - begun:.3f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
