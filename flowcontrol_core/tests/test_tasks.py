"""Handing runs to Celery, up to the broker: what happens beyond it is tested with real workers."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("celery")

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Celery, current_app
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.transport.memory import Channel

from flowcontrol import tasks as public
from flowcontrol.testing import flow as document
from flowcontrol.testing import manual_clock, publish_flow, step
from flowcontrol_core import tasks
from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.queue.claim import Choice
from flowcontrol_core.runs.queue.workers import should_stop
from flowcontrol_core.runs.store.clock import ManualClock

CLOSED = ["amqp://127.0.0.1:1//", "redis://127.0.0.1:1/0"]


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that keeps its messages in memory, current for the length of the test."""
    proxy: Any = current_app
    before = proxy._get_current_object()
    app = Celery("test", broker="memory://")
    app.set_current()
    app.set_default()
    yield app
    # They outlive their connections, for all apps of the process.
    Channel.queues.clear()
    app.close()
    before.set_current()
    before.set_default()


def waiting(app: Celery, name: str = "celery") -> list[Any]:
    """Take the arguments of the messages out of a queue."""
    found: list[Any] = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(name)
        while True:
            try:
                message = queue.get(block=False)
            except queue.Empty:
                return found
            message.ack()
            found.append(message.payload[0][0])


def test_the_tasks_have_the_names_of_the_public_module() -> None:
    assert public.continue_flowruns_task.name == "flowcontrol.tasks.continue_flowruns_task"
    assert public.run_flowruns_task.name == "flowcontrol.tasks.run_flowruns_task"


def test_runs_are_sent_in_chunks(app: Celery, settings: Any) -> None:
    settings.FLOWCONTROL = {"CELERY_CHUNK": 2}
    assert tasks.send({"default": [1, 2, 3, 4, 5]}) == 5
    assert waiting(app) == [[1, 2], [3, 4], [5]]


def test_sweep_does_not_trust_a_connection_that_was_used_before(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []
    original = tasks._connection

    def connection() -> Connection:
        made.append(original())
        return made[-1]

    monkeypatch.setattr(tasks, "_connection", connection)
    for _ in range(2):
        assert tasks.send({"default": [1]}) == 1
    assert len(made) == 2
    assert not any(one.connected for one in made)
    assert waiting(app) == [[1], [1]]


def test_runs_go_to_the_queue_that_their_flow_names(app: Celery) -> None:
    assert tasks.send({"slow": [1, 2], "default": [3]}) == 3
    assert waiting(app, "slow") == [[1, 2]]
    assert waiting(app) == [[3]]


@pytest.mark.parametrize("url", CLOSED)
def test_a_broker_that_is_down_is_one_line_in_the_log(
    app: Celery, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    app.conf.update(broker_url=url)
    assert tasks.send({"default": [1, 2]}) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the next sweep will retry" in caplog.text


@pytest.mark.parametrize("url", CLOSED)
def test_no_thread_sleeps_while_the_broker_is_down(
    app: Celery, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    app.conf.update(broker_url=url)
    naps: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", naps.append)
    tasks.send({"default": [1]})
    assert sum(naps) == 0


@pytest.mark.parametrize("quickly", [True, False])
@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_does_not_answer_lets_no_one_wait_for_long(
    app: Celery,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    quickly: bool,
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_WAIT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app.conf.update(broker_url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        assert tasks.send({"default": [1, 2]}, quickly=quickly) == 0
    # Far less than what the client libraries wait by themselves, on a busy machine too.
    assert time.monotonic() - begun < 5
    assert "the next sweep will retry" in caplog.text


def test_what_a_project_says_of_its_transport_is_kept(app: Celery) -> None:
    app.conf.update(broker_url=CLOSED[1], broker_transport_options={"socket_timeout": 7})
    options = tasks._connection().transport_options or {}
    assert options["socket_timeout"] == 7
    assert options["socket_connect_timeout"] == tasks.LONGEST_WAIT


def test_after_a_failure_the_broker_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[list[int]] = []
    answers = [0, 1]

    def send(runs: dict[str, list[int]], *, quickly: bool) -> int:
        assert quickly
        tried.extend(runs.values())
        return answers.pop(0)

    now = [100.0]
    monkeypatch.setattr(tasks, "send", send)
    monkeypatch.setattr(tasks, "by_queue", lambda ids: {"default": list(ids)})
    monkeypatch.setattr("flowcontrol_core.tasks.time.monotonic", lambda: now[0])
    sender = tasks._Sender()
    for second, run in ((100.0, 1), (100.1, 2), (100 + tasks.SILENCE, 3)):
        now[0] = second
        sender([run])
    assert tried == [[1], [3]]


@pytest.mark.parametrize(
    ("executed", "due", "sent"),
    [(2, {"default": [2]}, [[2]]), (0, {"default": [1, 2]}, [[1, 2]]), (2, {}, [])],
    ids=["let others go first", "held by another claim", "done"],
)
def test_what_is_due_still_is_sent_on(
    app: Celery,
    monkeypatch: pytest.MonkeyPatch,
    executed: int,
    due: dict[str, list[int]],
    sent: list[list[int]],
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("flowcontrol_core.tasks.time.sleep", naps.append)
    done = SimpleNamespace(executed=executed)
    monkeypatch.setattr(tasks, "execute_due", lambda limit, choice, **options: done)
    monkeypatch.setattr(tasks, "due_by_queue", lambda limit, choice: due)
    monkeypatch.setattr(tasks, "send_heartbeat", lambda: None)
    assert tasks.run_flowruns_task([1, 2]) == executed
    assert waiting(app) == sent
    assert len(naps) == (executed == 0)


@pytest.mark.parametrize("place", ["send_heartbeat", "execute_due", "due_by_queue", "send"])
def test_the_soft_time_limit_interrupts_nothing_but_a_step(
    app: Celery, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever the task is, what is left of its chunk is sent on."""
    calls = {
        "send_heartbeat": lambda: None,
        "execute_due": lambda *_, **__: SimpleNamespace(executed=1),
        "due_by_queue": lambda *_: {"default": [2]},
        "send": tasks.send,
    }
    for name, call in calls.items():

        def called(*args: Any, _name: str = name, _call: Any = call, **options: Any) -> Any:
            if _name == place:
                signal.raise_signal(SIG_SOFT_TIMEOUT)
            return _call(*args, **options)

        monkeypatch.setattr(tasks, name, called)
    before = signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    try:
        assert tasks.run_flowruns_task([1, 2]) == 1
        assert signal.getsignal(SIG_SOFT_TIMEOUT) is soft_timeout_sighandler
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, before)
    assert waiting(app) == [[2]]
    assert not should_stop()


def test_eager_tasks_need_no_broker(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    app.conf.update(broker_url=CLOSED[0], task_always_eager=True)
    executed: list[list[int]] = []

    def send_heartbeat() -> None:
        pass

    def execute(limit: int, choice: Choice, between: object, seconds: float) -> SimpleNamespace:
        assert between is send_heartbeat, "a long task is not taken for gone"
        executed.append(list(choice.only or ()))
        return SimpleNamespace(executed=limit)

    monkeypatch.setattr(tasks, "execute_due", execute)
    monkeypatch.setattr(tasks, "due_by_queue", lambda limit, choice: {})
    monkeypatch.setattr(tasks, "send_heartbeat", send_heartbeat)
    assert tasks.send({"default": [1, 2]}) == 2
    assert executed == [[1, 2]]


def test_what_is_not_a_failure_of_the_broker_is_raised(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(tasks, "run_flowruns_task", SimpleNamespace(apply_async=fail))
    with pytest.raises(TypeError, match="a mistake"):
        tasks.send({"default": [1]})


def test_a_broker_that_dies_in_between_has_got_what_was_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FLOWCONTROL = {"CELERY_CHUNK": 2}
    sent: list[Any] = []

    def send_one(*, args: Any, **options: Any) -> None:
        if sent:
            raise OperationalError("gone")
        sent.append(args)

    monkeypatch.setattr(tasks, "run_flowruns_task", SimpleNamespace(apply_async=send_one))
    assert tasks.send({"default": [1, 2, 3]}) == 2


@pytest.mark.slow
def test_only_the_tasks_need_celery() -> None:
    code = (
        "import sys; sys.modules['celery'] = None\n"
        "import django; django.setup()\n"
        "import flowcontrol.engine, flowcontrol.testing\n"
        "from django.core.management import call_command\n"
        "call_command('check')\n"
        "try:\n"
        "    import flowcontrol.tasks\n"
        "except ImportError as error:\n"
        "    print('needs', error.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs celery" in done.stdout, done.stderr


# What is handed out at each message of beat


def create_runs(count: int) -> None:
    flow = publish_flow(document(step("builtin.update_state", state={"n": 1})))
    for _ in range(count):
        create_flowrun(flow)


@pytest.fixture
def site(app: Celery, settings: Any) -> Iterator[ManualClock]:
    """Runs that are due, five to a message, and no worker."""
    settings.FLOWCONTROL = {"CELERY_CHUNK": 5, "CELERY_EXPIRES": 900}
    with manual_clock() as clock:
        create_runs(200)
        yield clock


def count(app: Celery) -> int:
    """Return how many messages wait."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel.queue_declare("celery", passive=True).message_count)


@pytest.mark.django_db(transaction=True)
def test_beat_does_not_flood_the_broker_while_no_worker_runs(
    app: Celery, site: ManualClock
) -> None:
    for _ in range(60):
        tasks.continue_flowruns_task()
        site.advance(seconds=10)
    assert count(app) == 40
    assert sorted(pk for ids in waiting(app) for pk in ids) == sorted(keys())


def keys() -> list[int]:
    return list(FlowRun.objects.values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_what_becomes_due_meanwhile_is_handed_out_once(app: Celery, site: ManualClock) -> None:
    tasks.continue_flowruns_task()
    before = keys()
    site.advance(seconds=10)
    create_flowrun("flow")
    assert [tasks.continue_flowruns_task() for _ in range(3)] == [1, 0, 0]
    assert waiting(app)[40:] == [sorted(set(keys()) - set(before))]


@pytest.mark.django_db(transaction=True)
def test_what_was_lost_is_handed_out_again_at_the_next_message(
    app: Celery, site: ManualClock
) -> None:
    tasks.continue_flowruns_task()
    assert len(waiting(app)) == 40, "taken out, and not executed"
    site.advance(seconds=10)
    assert tasks.continue_flowruns_task() == 200


@pytest.mark.django_db(transaction=True)
def test_what_has_expired_is_handed_out_again(app: Celery, site: ManualClock) -> None:
    tasks.continue_flowruns_task()
    site.advance(seconds=899)
    assert tasks.continue_flowruns_task() == 0
    site.advance(seconds=1)
    assert tasks.continue_flowruns_task() == 200
    assert tasks.continue_flowruns_task() == 0


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_sent_is_handed_out_when_the_broker_is_back(
    app: Celery, site: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "send", lambda runs: 5)
        tasks.continue_flowruns_task()
    assert tasks.continue_flowruns_task() == 200


@pytest.mark.django_db(transaction=True)
def test_of_two_messages_of_beat_at_once_one_hands_out(
    app: Celery, site: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.continue_flowruns_task()
    waiting(app)
    site.advance(seconds=10)
    handed_out: list[int] = []

    def other_first(queue: str) -> bool:
        monkeypatch.undo()
        handed_out.append(tasks.continue_flowruns_task())
        return True

    monkeypatch.setattr(tasks, "_is_drained", other_first)
    assert (tasks.continue_flowruns_task(), handed_out) == (0, [200])


def test_messages_expire(app: Celery, settings: Any) -> None:
    settings.FLOWCONTROL = {"CELERY_EXPIRES": 77}
    tasks.send({"default": [1]})
    tasks.continue_flowruns_task.delay()
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        for _ in range(2):
            expires = datetime.fromisoformat(queue.get(block=False).headers["expires"])
            assert 60 < (expires - datetime.now(UTC)).total_seconds() <= 77


def test_queue_of_a_broker_that_is_down_is_not_taken_for_drained(app: Celery) -> None:
    app.conf.update(broker_url=CLOSED[1])
    assert not tasks._is_drained("default")


def test_queue_that_nothing_was_sent_to_is_drained(app: Celery) -> None:
    assert tasks._is_drained("never_used")
    tasks.send({"used": [1]})
    assert not tasks._is_drained("used")


@pytest.mark.django_db(transaction=True)
def test_what_a_turn_leaves_is_shared_with_idle_workers(
    app: Celery, site: ManualClock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLOWCONTROL = {"CELERY_CHUNK": 50}
    ids = keys()[:50]
    monkeypatch.setattr(tasks, "execute_due", lambda *args, **options: one_claim(ids))
    assert tasks.run_flowruns_task(ids) == 10
    assert sorted(map(len, waiting(app))) == [20, 20]


def one_claim(ids: list[int]) -> SimpleNamespace:
    FlowRun.objects.filter(pk__in=ids[:10]).update(due_at=None, status="waiting", wait_trigger="x")
    return SimpleNamespace(executed=10)
