"""F6: a worker dies, with ``os._exit``, at one named point of the protocol after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from chaos.camp import Camp, call, write
from chaos.registry import fault
from chaos.results import Figures
from flowcontrol_core.runs.execution import admission, batch, checkpoint, driver, sweep
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue import limits, outbox
from flowcontrol_core.runs.triggers import fire
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.effects.actions import Call, Write
from tests.effects.models import Effect
from tests.shop.models import Customer

STATUS = 17
Place = tuple[Any, str, bool]
#: Where a worker dies: the owner of a function, its name, and whether it is before or after it.
#: The name of a point may come twice: a call that two modules know by a name of their own.
BEFORE, AFTER = True, False
POINTS: dict[str, list[Place]] = {
    "after_claim": [(sweep, "claim", AFTER)],
    "after_inbox": [(batch, "read_inboxes", AFTER)],
    "after_slots": [(limits, "take_slots", AFTER)],
    "before_effect": [(Write, "run", BEFORE)],
    "after_effect": [(Write, "run", AFTER)],
    "before_call": [(Call, "run", BEFORE)],
    "after_call": [(Call, "run", AFTER)],
    "before_checkpoint": [(checkpoint, "write", BEFORE)],
    "before_commit": [(checkpoint, "write", AFTER)],
    "after_commit": [(checkpoint.Execution, "committed", BEFORE)],
    "before_recheck": [(outbox, "recheck_wait", BEFORE)],
    "after_recheck": [(outbox, "recheck_wait", AFTER)],
    "before_delivery_of_events": [(fire, "deliver_events", BEFORE)],
    "before_delivery_of_ends": [(outbox, "deliver_ends", BEFORE)],
    "before_ends_together": [(checkpoint, "write_many", BEFORE)],
    "after_ends_together": [(checkpoint, "write_many", AFTER)],
    "after_checkpoint": [(driver, "after_checkpoint", BEFORE), (batch, "after_checkpoint", BEFORE)],
    "before_queue_is_woken": [(outbox, "wake_queued", BEFORE)],
    "after_refusal": [(admission, "_refuse", AFTER)],
}


def die_at(point: str, nth: int) -> None:
    """Have this process die when it reaches a point for the ``nth`` time."""
    passed = 0

    def count() -> None:
        nonlocal passed
        passed += 1
        if passed == nth:
            os._exit(STATUS)

    for owner, name, before in POINTS[point]:
        original: Callable[..., Any] = getattr(owner, name)

        def dying(
            *args: Any, _original: Callable[..., Any] = original, _before: bool = before, **kw: Any
        ) -> Any:
            if _before:
                count()
            answer = _original(*args, **kw)
            if not _before:
                count()
            return answer

        setattr(owner, name, dying)


@fault("F6", "dying at each named point")
def die_at_each_point(camp: Camp, figures: Figures) -> None:
    reached = []
    for name in POINTS:
        for nth in (1, 2, 5)[: camp.dose.pick(3, 1, 1)]:
            camp.clear()
            if die_once(camp, figures, partial(die_at, name, nth)):
                reached.append(name)
            figures.promise(not figures.lost and not figures.duplicated, f"at {name}, pass {nth}")
            if figures.is_red:
                return
    unreached = sorted(POINTS.keys() - set(reached))
    figures.promise(not unreached, f"never reached: {', '.join(unreached)}")
    figures.note = f"{len(POINTS)} points"


def die_once(camp: Camp, figures: Figures, change: Callable[[], None]) -> bool:
    """Have runs of all kinds executed by a worker that dies and by one that comes after it."""
    child = flow(write("child"))
    publish_flow(child, key="child")
    publish_flow(flow(step("effects.rest"), step("effects.rest")), key="quiet")
    document = flow(
        step("effects.rest"),
        write("a"),
        call("b"),
        step("effects.listen"),
        write("c"),
        step("builtin.start_flow", flow="child", wait=True),
        call("d"),
        object="shop.customer",
    )
    publish_flow(document, max_concurrent=2, max_concurrent_policy="queue")
    customers = [Customer.objects.create(name="told") for _ in range(3)]
    for customer in customers:
        Customer.objects.filter(pk=customer.pk).update(phone=str(customer.pk))
    publish_flow(flow(step("effects.tell", label="tell"), object="shop.customer"), key="tell")
    runs = [create_flowrun(key, customer) for customer in customers for key in ("flow", "tell")]
    runs += [create_flowrun("quiet") for _ in range(3)]
    dying = camp.fork_worker(change, LEASE=0.2, STEP_TIMEOUT=0.2)
    camp.wait_for(lambda: dying.has_ended() or camp.is_done())
    died = dying.has_ended() and dying.exit_status() == STATUS
    other = camp.fork_worker(LEASE=0.2, STEP_TIMEOUT=0.2)
    camp.wait_until_done(other)
    camp.end_processes()
    figures.runs += len(runs)
    figures.kills += died
    camp.check_complete(figures)
    wanted = {"a": 3, "c": 3, "tell": 3, "child": 3}
    for label, count in wanted.items():
        found = Effect.objects.filter(label=label).count()
        figures.lost += max(0, count - found)
        figures.duplicated += max(0, found - count)
    for label in "bd":
        made = set(Effect.objects.filter(label=label).values_list("run", flat=True))
        figures.lost += 3 - len(made)
    figures.keys += camp.changed_keys()
    return died
