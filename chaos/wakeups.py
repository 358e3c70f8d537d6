"""F11 and F12: a trigger races the wait, and runs that wake each other."""

from __future__ import annotations

import random
import re
import time
from functools import partial

from django.db import transaction

from chaos.camp import Camp, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.document.tree import Step
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution import activation, batch, driver
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.store import connection
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.actions import TOLD
from tests.shop.models import Customer

DEADLOCK = "deadlock seen"


@fault("F11", "a trigger races the wait")
def race(camp: Camp, figures: Figures) -> None:
    publish_flow(flow(write("a"), step("effects.listen"), write("b"), object="shop.customer"))
    workers = camp.fork_workers(2)
    count = camp.dose.pick(2000, 120, 60)
    processes = camp.dose.pick(8, 2, 2)
    starters = [camp.fork(partial(start_and_tell, count // processes)) for _ in range(processes)]
    for starter in starters:
        assert starter.exit_status() == 0, starter.output
    camp.wait_until_done(*workers)
    camp.check_complete(figures)
    runs = list(FlowRun.objects.all())
    figures.runs = len(runs)
    camp.check_once(figures, runs, "a", "b")


def start_and_tell(times: int) -> None:
    """Start runs, and tell each of them about when it begins to wait."""
    for number in range(times):
        customer = Customer.objects.create(name=str(number))
        create_flowrun("flow", customer)
        time.sleep(random.uniform(0, 0.03))
        TOLD.fire(customer)


@fault("F12", "two runs wake each other")
def ping_pong(camp: Camp, figures: Figures) -> None:
    rounds, pairs = camp.dose.pick(30, 8, 6), camp.dose.pick(10, 5, 3)
    publish_flow(flow(*turns(rounds), object="shop.customer"))
    workers = camp.fork_workers(4, notice_deadlocks, LEASE=10)
    for _ in range(pairs):
        one, other = (Customer.objects.create(name="pair") for _ in range(2))
        for who, partner in ((one, other), (other, one)):
            Customer.objects.filter(pk=who.pk).update(phone=str(partner.pk))
        with transaction.atomic():
            create_flowrun("flow", one)
            create_flowrun("flow", other)
    camp.wait_until_done(*workers)
    camp.check_complete(figures)
    runs = list(FlowRun.objects.all())
    figures.runs = len(runs)
    camp.check_once(figures, runs, *map(str, range(rounds)))
    deadlocks = sum(worker.output.count(DEADLOCK) for worker in workers)
    figures.promise(not deadlocks, f"{deadlocks} deadlocks")
    figures.note = f"{rounds} turns each, {deadlocks} deadlocks"


def turns(rounds: int) -> list[Step]:
    found = []
    for number in range(rounds):
        found += [step("effects.tell", label=str(number), linger=0.01), step("effects.listen")]
    return found


def notice_deadlocks(words: str = "deadlock") -> None:
    """Have this process write a line for each deadlock, which the engine gets over.

    Or for other errors: ``words`` is what their texts have, as a regular expression.
    """
    original = connection.is_transient

    def is_transient(error: BaseException) -> bool:
        if re.search(words, str(error), re.IGNORECASE):
            print(DEADLOCK, error, flush=True)
        return original(error)

    for module in (activation, batch, connection, driver):
        module.is_transient = is_transient  # type: ignore[attr-defined]
