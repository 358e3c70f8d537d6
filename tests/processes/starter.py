"""A process that starts runs of a flow for some objects, again and again, on a word from outside.

Arguments: the key of the flow, how often, and the primary keys of the customers.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress

import django


def main(key: str, times: str, *customers: str) -> None:
    django.setup()

    from flowcontrol.engine import start_flowrun
    from flowcontrol.errors import NotStartedError
    from tests.shop.models import Customer

    objects = list(Customer.objects.filter(pk__in=customers))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for _ in range(int(times)):
        for customer in random.sample(objects, len(objects)):
            with suppress(NotStartedError):
                start_flowrun(key, customer)


if __name__ == "__main__":
    main(*sys.argv[1:])
