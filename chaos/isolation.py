"""F26: a site whose database is set up for the isolation level SERIALIZABLE."""

from __future__ import annotations

from functools import partial

from chaos.camp import Camp, call, create_runs, write
from chaos.limits import LEVELS, isolate
from chaos.network import be_quick
from chaos.registry import SERVERS, fault
from chaos.results import Figures
from chaos.storm import Storm
from chaos.wakeups import DEADLOCK, notice_deadlocks
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.models import FlowRun
from flowcontrol_core.testing.builder import flow, step
from tests.shop.models import Customer

#: How the databases say that a transaction is to be repeated.
REFUSED = "could not serialize|deadlock|record has changed"


def increase(label: str) -> Step:
    return step("effects.increase", label=label, linger=0.01)


class RaceForNumbers(Storm):
    """The storm, in which all runs increase the numbers of few customers."""

    def make_document(self) -> Document:
        names = ("Ada", "Eve", "Mia", "Zoe")
        self.customers = [Customer.objects.create(name=name) for name in names]
        return flow(
            call("a", linger=0.06),
            increase("b"),
            write("c", linger=0.06),
            increase("d"),
            object="shop.customer",
        )

    def create(self, count: int) -> list[FlowRun]:
        return create_runs(count, obj=self.camp.random.choice(self.customers))


@fault("F26", "SERIALIZABLE, and F1", databases=SERVERS)
def storm_in_series(camp: Camp, figures: Figures) -> None:
    """What is read is still so at the commit, or the transaction is repeated."""
    level = LEVELS[camp.scratch.database]["serializable"]
    changes = (partial(isolate, level), be_quick, partial(notice_deadlocks, REFUSED))
    storm = RaceForNumbers(camp, figures, *changes)
    if camp.dose.name != "full":
        storm.halve()
    storm.rage()
    storm.settle()
    camp.audit(figures, storm.created, storm.document)
    numbers = sum(int(phone or 0) for phone in Customer.objects.values_list("phone", flat=True))
    wanted = 2 * len(storm.created)
    figures.promise(numbers == wanted, f"{wanted} increases made {numbers}")
    refused = sum(worker.output.count(DEADLOCK) for worker in storm.workers)
    # In a small dose, on a quiet machine, none may come in between.
    least = camp.dose.pick(1, 1, 0)
    figures.promise(refused >= least, "no transaction had to be repeated")
    figures.note += f"{refused} times the database asked for a repetition"
