"""The history of a run: loops as one row, and gaps where they are."""

from __future__ import annotations

import html
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol import flows
from flowcontrol.engine import create_flowrun
from flowcontrol.models import Flow, FlowRun, RunEvent
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_admin.timeline import Call, Gap, Happened, Loop, Pass, Row, timeline

from .conftest import text_of, url

pytestmark = pytest.mark.django_db


def count_up(key: str = "n") -> Any:
    return step("builtin.update_state", id=f"up-{key}", state={key: f"{key}|add:1"}, evaluate=True)


def done(*body: Any, passes: int, after: Any = ()) -> FlowRun:
    loop = step("builtin.for", id="loop", end=str(passes), variable="i", body=list(body))
    start = step("builtin.set_state", id="start", state={"n": 0})
    run = create_flowrun(publish_flow(build(start, loop, *after), key="looping", name="Looping"))
    run_due()
    run.refresh_from_db()
    return run


def shown(run: FlowRun) -> list[Row]:
    document = flows.get_document(run.version)
    return timeline(RunEvent.objects.filter(run=run).order_by("pk"), document)


def loop_of(run: FlowRun) -> Loop:
    (loop,) = [row for row in shown(run) if isinstance(row, Loop)]
    return loop


@pytest.mark.parametrize("passes", [0, 1, 3, 20, 1_000])
def test_a_loop_is_one_row_that_counts_its_passes(passes: int) -> None:
    start, loop, ended = shown(done(count_up(), passes=passes))
    assert isinstance(start, Call)
    assert isinstance(ended, Happened)
    assert isinstance(loop, Loop)
    assert (loop.passes, loop.failures, loop.is_cut) == (passes, 0, False)


def test_a_gap_is_where_the_calls_are_missing() -> None:
    loop = loop_of(done(count_up(), passes=1_000))
    rows = [(type(row), row.number if isinstance(row, Pass) else 0) for row in loop.rows]
    assert rows == [
        (Pass, 1), (Call, 0), (Pass, 2), (Call, 0), (Gap, 0), (Call, 0), (Pass, 1_000), (Call, 0),
    ]  # fmt: skip
    shown_calls = sum(not isinstance(row, Gap) for row in loop.rows)
    assert sum(row.count for row in loop.rows if isinstance(row, Gap)) == 2_000 - shown_calls


@pytest.mark.parametrize("passes", range(1, 9))
def test_no_row_is_spent_to_hide_one_row(client: Client, passes: int) -> None:
    run = done(count_up(), passes=passes)
    rows = loop_of(run).rows
    assert all(row.count > 1 for row in rows if isinstance(row, Gap))
    gaps = sum(row.count for row in rows if isinstance(row, Gap))
    calls: list[Any] = [getattr(row, "call", row) for row in rows if not isinstance(row, Gap)]
    assert len(calls) + gaps + sum(call.is_after_one for call in calls) == 2 * passes
    page = text_of(client.get(url("flowrun_change", run.pk)))
    assert page.count("One call before") == sum(call.is_after_one for call in calls)


def test_a_loop_is_open_at_its_failure_only(client: Client) -> None:
    fail = step("builtin.if", id="if", condition="i == 700", then=[step("test.fail", id="oops")])
    run = done(count_up(), fail, passes=1_000)
    loop = loop_of(run)
    assert (loop.passes, loop.failures) == (701, 1)
    assert any(isinstance(row, Call) and row.step == "oops" and row.error for row in loop.rows)
    response = client.get(url("flowrun_change", run.pk))
    assert 'id="open-loop-1" open>' in response.content.decode()
    assert "701 passes" in text_of(response)


def test_a_loop_that_waits_in_each_pass_is_one_row_too(client: Client) -> None:
    run = done(step("builtin.delay", id="w", mode="for", amount="0", unit="minutes"), passes=3)
    assert loop_of(run).passes == 3
    page = client.get(url("flowrun_change", run.pk))
    assert 'id="open-loop-1">' in page.content.decode()
    assert "3 passes" in text_of(page)


def test_two_executions_of_a_loop_are_two_rows() -> None:
    inner = step("builtin.for", id="inner", end="1", variable="j", body=[count_up()])
    nested = loop_of(done(inner, passes=2))
    assert nested.passes == 2
    # A loop inside of a loop has a row in that of the outer one, for each of its executions.
    assert [type(row) for row in nested.rows] == [Pass, Loop] * 2
    assert [row.passes for row in nested.rows if isinstance(row, Loop)] == [1, 1]


def test_what_is_not_recorded_of_an_inner_loop_is_not_counted() -> None:
    inner = step("builtin.for", id="inner", end="50", variable="j", body=[count_up()])
    inside = [row for row in loop_of(done(inner, passes=9)).rows if isinstance(row, Loop)]
    assert inside
    assert all(row.is_cut for row in inside)
    assert sum(row.passes for row in inside) < 50


def test_loops_deeper_inside_of_loops_than_a_page_can_nest_are_shown_in_turn(
    client: Client,
) -> None:
    body: Any = count_up()
    for number in range(40):
        variable = f"v{number}"
        body = step("builtin.for", id=variable, end="1", variable=variable, body=[body])
    run = done(body, passes=1)
    assert client.get(url("flowrun_change", run.pk)).status_code == 200


def test_a_long_loop_costs_no_more_queries(client: Client) -> None:
    counts = []
    for number, passes in enumerate((1, 300)):
        body = [count_up()]
        start = step("builtin.set_state", id="start", state={"n": 0})
        loop = step("builtin.for", id="loop", end=str(passes), variable="i", body=body)
        run = create_flowrun(publish_flow(build(start, loop), key=f"f{number}", name="F"))
        run_due()
        with CaptureQueriesContext(connection) as caught:
            client.get(url("flowrun_change", run.pk))
        counts.append(len(caught))
    assert counts[0] == counts[1]


def test_values_are_written_as_a_person_writes_them(client: Client, live: Flow) -> None:
    state = {
        "total": Decimal("39.80"), "paid": True, "lines": [{"sku": "x"}, 2], "none": {},
        "password": "hunter2",
    }  # fmt: skip
    run = create_flowrun(live, state=state)
    page = html.unescape(client.get(url("flowrun_change", run.pk)).content.decode())
    cells = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page, re.DOTALL))
    assert "-\n    sku: x\n- 2\n" in cells["lines"]
    assert (cells["total"], cells["paid"], cells["none"]) == ("39.80", "yes", "(empty)")
    assert "hunter2" not in page
    assert "$decimal" not in page
