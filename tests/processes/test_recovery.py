"""Workers that die or sleep past their lease, at each point where that could do harm."""

from __future__ import annotations

import signal

import pytest

from flowcontrol_core.document.tree import Step
from flowcontrol_core.models import FlowRun, Outcome
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests.databases import Database
from tests.effects.models import Effect
from tests.processes.site import Site, Worker

pytestmark = pytest.mark.slow


def write(label: str, fault: str = "") -> Step:
    return step("effects.write", label=label, fault=fault)


def call(label: str, fault: str = "") -> Step:
    return step("effects.call", label=label, fault=fault)


def labels(run: FlowRun) -> list[str]:
    """Return the labels of the run's effects in the order in which they happened."""
    effects = Effect.objects.filter(run=run.uuid)
    return list(effects.order_by("pk").values_list("label", flat=True))


@pytest.mark.parametrize("fault", ["die_before_effect", "die_after_effect", "die_after_commit"])
def test_the_run_of_a_killed_worker_continues_at_a_checkpoint(site: Site, fault: str) -> None:
    # Without coalescing each database step is a checkpoint.
    publish_flow(flow(write("a"), write("b", fault), write("c")))
    worker = site.start_worker(COALESCE=0)
    run = create_flowrun("flow")
    assert worker.exit_status() == -signal.SIGKILL, worker.output
    assert labels(run) == (["a", "b"] if fault == "die_after_commit" else ["a"])
    other = site.start_worker(COALESCE=0)
    site.wait_until_done(other)
    assert labels(run) == ["a", "b", "c"]
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE
    redone = Effect.objects.get(run=run.uuid, label="b").worker
    assert redone == (worker.pid if fault == "die_after_commit" else other.pid)


def test_steps_that_shared_a_transaction_are_repeated_together(site: Site) -> None:
    publish_flow(flow(write("a"), write("b", "die_after_effect"), write("c")))
    worker = site.start_worker(COALESCE=60)
    run = create_flowrun("flow")
    assert worker.exit_status() == -signal.SIGKILL, worker.output
    assert labels(run) == []
    site.wait_until_done(site.start_worker())
    assert labels(run) == ["a", "b", "c"]


def test_an_external_call_is_repeated_with_its_idempotency_key(site: Site) -> None:
    publish_flow(flow(write("a"), call("b", "die_after_call"), call("c"), write("d")))
    worker = site.start_worker()
    run = create_flowrun("flow")
    assert worker.exit_status() == -signal.SIGKILL, worker.output
    site.wait_until_done(site.start_worker())
    assert labels(run) == ["a", "b", "b", "c", "d"]
    effects = Effect.objects.filter(run=run.uuid)
    keys = dict(effects.values_list("label", "idempotency_key"))
    assert effects.filter(label="b", idempotency_key=keys["b"]).count() == 2
    assert len(set(keys.values())) == 4
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE


def test_an_external_call_that_must_not_be_repeated_is_left_to_an_operator(site: Site) -> None:
    document = flow(
        step("effects.call", label="a", fault="die_after_call", if_unknown="fail"), write("b")
    )
    publish_flow(document)
    worker = site.start_worker()
    run = create_flowrun("flow")
    assert worker.exit_status() == -signal.SIGKILL, worker.output
    site.wait_until_done(site.start_worker())
    run.refresh_from_db()
    assert (run.outcome, labels(run)) == (Outcome.ERRORED, ["a"])
    assert run.reason_code == "unknown_call"
    assert "unknown whether the call was made" in run.reason


def test_a_zombie_in_an_external_call_cannot_continue(site: Site) -> None:
    publish_flow(flow(call("a", "stop"), write("b")))
    zombie, other = finish_instead_of_a_zombie(site)
    run = FlowRun.objects.get()
    assert labels(run) == ["a", "a", "b"]
    assert Effect.objects.values("idempotency_key").filter(label="a").distinct().count() == 1
    wake_zombie(site, zombie, other)
    assert labels(run) == ["a", "a", "b"]
    assert Effect.objects.get(label="b").worker == other.pid


def test_a_zombie_in_a_database_step_cannot_commit(site: Site) -> None:
    if site.scratch.database is Database.SQLITE_FILE:
        pytest.skip(
            "There, a sleeper in a transaction keeps the only write lock: no one else can write"
        )
    publish_flow(flow(write("a", "stop"), write("b")))
    zombie, other = finish_instead_of_a_zombie(site)
    run = FlowRun.objects.get()
    wake_zombie(site, zombie, other)
    assert labels(run) == ["a", "b"]
    assert set(Effect.objects.filter(run=run.uuid).values_list("worker", flat=True)) == {other.pid}


def test_without_the_fence_the_zombie_would_commit(site: Site) -> None:
    if site.scratch.database is Database.SQLITE_FILE:
        pytest.skip(
            "There, a sleeper in a transaction keeps the only write lock: no one else can write"
        )
    publish_flow(flow(write("a", "stop"), write("b")))
    unfenced = site.start("-m", "tests.processes.unfenced")
    zombie, other = finish_instead_of_a_zombie(site, unfenced)
    zombie.signal(signal.SIGCONT)
    site.wait_for(lambda: Effect.objects.filter(label="a").count() == 2, zombie, other)


def finish_instead_of_a_zombie(site: Site, zombie: Worker | None = None) -> tuple[Worker, Worker]:
    """Have a worker stop itself in a step, and another one finish its run."""
    # Longer than it sleeps: a step that took too long fails, and the fence would not be asked. On
    # SQLite the lease has to last for it.
    is_file = site.scratch.database is Database.SQLITE_FILE
    zombie = zombie or site.start_worker(**({} if is_file else {"STEP_TIMEOUT": 60}))
    create_flowrun("flow")
    site.wait_for(zombie.is_stopped, zombie)
    other = site.start_worker()
    site.wait_until_done(other)
    return zombie, other


def wake_zombie(site: Site, zombie: Worker, other: Worker) -> None:
    """Have the zombie continue, and be the only one who can execute another run."""
    other.signal(signal.SIGTERM)
    assert other.exit_status() == 0, other.output
    zombie.signal(signal.SIGCONT)
    publish_flow(flow(write("z")), key="alive")
    create_flowrun("alive")
    site.wait_until_done(zombie)
    assert Effect.objects.get(label="z").worker == zombie.pid


def test_a_poison_step_exhausts_its_attempts_while_its_neighbours_finish(site: Site) -> None:
    publish_flow(flow(write("a")))
    publish_flow(flow(write("a", "poison")), key="poison")
    keys = ["flow"] * 4 + ["poison"] + ["flow"] * 5
    runs = [create_flowrun(key) for key in keys]
    deaths = 0
    worker = site.start_worker(MAX_ATTEMPTS=2)

    def is_done() -> bool:
        nonlocal worker, deaths
        if worker.has_ended():
            assert worker.exit_status() == -signal.SIGKILL, worker.output
            deaths += 1
            worker = site.start_worker(MAX_ATTEMPTS=2)
        return not FlowRun.objects.live().exists()

    site.wait_for(is_done)
    poison = runs.pop(4)
    poison.refresh_from_db()
    assert (poison.outcome, labels(poison)) == (Outcome.ERRORED, [])
    assert (poison.reason_code, poison.reason_values) == ("dead_lettered", {"attempts": 2})
    assert "its worker died 2 times" in poison.reason
    assert deaths == 2
    assert [labels(run) for run in runs] == [["a"]] * 9
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 9
