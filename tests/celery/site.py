"""A site whose processes are Celery workers, and the queue that they share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from tests.processes.site import Site, Worker

#: What beat sends.
BEAT = "continue_flowruns_task"
#: Addresses at which no broker listens, by the scheme of those that are used.
CLOSED = {"amqp": "amqp://127.0.0.1:1//", "redis": "redis://127.0.0.1:1/0"}


class CelerySite(Site):
    """A site whose processes talk to a broker; so does the test, in beat's place."""

    broker = ""
    queue = ""
    app: Celery

    def use(self, broker: str) -> None:
        """Begin with an empty queue."""
        self.broker, self.queue = broker, f"flowcontrol_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.app = Celery("beat", broker=broker, set_as_current=False)

    def environment(self, **settings: Any) -> dict[str, str]:
        broker = settings.pop("broker", self.broker)
        names = {"FLOWCONTROL_TEST_BROKER": broker, "FLOWCONTROL_TEST_QUEUE": self.queue}
        return super().environment(**settings) | names

    def start_celery_workers(
        self, count: int, *options: str, pool: str = "solo", **settings: Any
    ) -> list[Worker]:
        """Start ``celery worker`` processes and wait until they are ready."""
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = ["-m", "celery", "-A", "tests.celery.app", "worker", f"--pool={pool}", *quiet]
        workers = [
            self.start(
                *command, f"--hostname=w{n}@{self.queue}", "--loglevel=INFO", *options, **settings
            )
            for n in range(count)
        ]
        for worker in workers:
            self.wait_for(lambda: " ready." in worker.output, worker)  # noqa: B023
        return workers

    def send(self, task: str, *args: Any) -> None:
        """Send a message for one of the tasks, as beat does."""
        self.app.send_task(f"flowcontrol.tasks.{task}", args=args, queue=self.queue)

    def lose_messages(self) -> int:
        """Empty the queue; give how many messages were in it."""
        with self._channel() as channel:
            return int(channel.queue_purge(self.queue) or 0)

    def close(self) -> None:
        with self._channel() as channel:
            channel.queue_delete(self.queue)
        self.app.close()

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with self.app.connection_for_write() as connection:
            yield connection.default_channel
