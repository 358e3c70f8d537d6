"""What people do while workers run: cancel, edit, publish, delete."""

from __future__ import annotations

import pytest

from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.edits import edit_draft
from flowcontrol_core.flows.lifecycle import deactivate
from flowcontrol_core.flows.publication import publish
from flowcontrol_core.models import Flow, FlowRun, Outcome, Status
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow
from tests import operate
from tests.effects.models import Effect
from tests.processes.site import Site

pytestmark = pytest.mark.slow
#: Enough steps that a run can be met on its way.
LONG = 20_000


def long_flow(steps: int) -> Document:
    writing = step("effects.write", label="pass")
    return flow(step("builtin.for", start="0", end=str(steps), body=[writing]))


def replace_steps(edited: Flow, *steps: Step) -> None:
    """Edit the draft so that it has these steps, and publish it."""
    edit_draft(edited, lambda _: flow(*steps), revision=None, author=None)
    publish(edited)


def count(run: FlowRun) -> int:
    return Effect.objects.filter(run=run.uuid).count()


@pytest.mark.parametrize("coalesce", [0, 0.05])
def test_no_effect_of_a_running_run_commits_after_it_was_canceled(
    site: Site, coalesce: float
) -> None:
    # Where a worker holds the only write lock, it has to let the operator have it.
    publish_flow(long_flow(LONG))
    workers = site.start_workers(2, COALESCE=coalesce)
    for goal in (1, 5, 20):
        run = create_flowrun("flow")
        site.wait_for(lambda: count(run) >= goal, *workers)  # noqa: B023
        operate.cancel(run, by="Ada", reason="too slow")
        done = count(run)
        site.wait_until_done(*workers)
        run.refresh_from_db()
        assert (run.outcome, run.reason) == (Outcome.CANCELED, "Canceled. too slow")
        assert count(run) == done < LONG


def test_no_effect_of_a_paused_run_commits_until_it_is_resumed(site: Site) -> None:
    publish_flow(long_flow(LONG))
    publish_flow(long_flow(1), key="short")
    workers = site.start_workers(2, COALESCE=0)
    run = create_flowrun("flow")
    site.wait_for(lambda: count(run) >= 2, *workers)
    operate.pause(run)
    site.wait_for_status(Status.PAUSED, 1, *workers)
    done = count(run)
    create_flowrun("short")
    site.wait_for_status(Status.DONE, 1, *workers)
    assert count(run) == done < LONG
    operate.resume(run)
    site.wait_for(lambda: count(run) > done + 5, *workers)
    operate.cancel(run)
    keys = list(Effect.objects.values_list("idempotency_key", flat=True))
    assert len(set(keys)) == len(keys)


def test_editing_and_deleting_steps_changes_nothing_for_runs_that_wait(site: Site) -> None:
    document = flow(
        step("effects.write", id="a", label="a"),
        step("effects.hold", id="hold"),
        step("effects.write", id="b", label="b"),
    )
    edited = publish_flow(document)
    workers = site.start_workers(2)
    old = [create_flowrun("flow") for _ in range(5)]
    site.wait_for_status(Status.WAITING, 5, *workers)

    replace_steps(
        edited, step("effects.write", id="a", label="a"), step("effects.write", id="c", label="c")
    )
    new = create_flowrun("flow")
    site.wait_for_status(Status.DONE, 1, *workers)
    replace_steps(edited, step("effects.write", id="c", label="c"))
    deactivate(edited)

    for run in old:
        operate.run_now(run)
    site.wait_until_done(*workers)
    labels = {
        run.pk: list(Effect.objects.filter(run=run.uuid).order_by("pk").values_list("label"))
        for run in (*old, new)
    }
    assert labels == {run.pk: [("a",), ("b",)] for run in old} | {new.pk: [("a",), ("c",)]}
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 6
