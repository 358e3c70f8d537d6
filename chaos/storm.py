"""F1, F2, F7: workers are killed, and stopped past their leases, while others continue."""

from __future__ import annotations

import signal
import subprocess
import time

from chaos.camp import SETTINGS, Camp, create_runs, six_steps, times
from chaos.processes import Forked, Work
from chaos.registry import SERVERS, fault
from chaos.results import Figures
from chaos.servers import DATABASES
from flowcontrol_core.document.tree import Document
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.testing.helpers import publish_flow
from tests.processes.unfenced import switch_the_fence_off

LEASE = SETTINGS["LEASE"]


class Storm:
    """Kills and stops workers at random times, busy ones first, and replaces the dead.

    Runs come little by little, so that one that is taken from a worker continues at once: the
    worker comes back when others have continued its run.
    """

    def __init__(self, camp: Camp, figures: Figures, *changes: Work) -> None:
        self.camp, self.figures, self.changes = camp, figures, changes
        pick = camp.dose.pick
        self.runs = pick(500, 100, 40)
        self.begun = time.monotonic()
        self.seconds = pick(40, 5, 3)
        # A sleeper in a transaction keeps all others from writing on SQLite: there, most are to
        # fall asleep in a call.
        self.restarts: list[float] = []
        self.document = self.make_document()
        publish_flow(self.document)
        # A zombie is to be refused by the fence: a step that took too long would fail.
        self.settings = {} if camp.is_sqlite else {"STEP_TIMEOUT": 60.0}
        self.workers = camp.fork_workers(pick(6, 4, 3), *changes, **self.settings)
        self.kills = times(pick(60, 10, 4), self.seconds, camp.random)
        self.stops = times(pick(30, 6, 4), self.seconds, camp.random)
        #: Until when a stopped worker sleeps at least, and at the most.
        self.asleep: list[tuple[float, float, Forked]] = []
        self.created: list[FlowRun] = []

    def make_document(self) -> Document:
        if self.camp.is_sqlite:
            # There, the lease has to last for the time-out, so a zombie that no one has missed in
            # time fails its step.
            return six_steps(0.2, 0.005, retry={"attempts": 10, "backoff": 0.1})
        return six_steps(0.06, 0.06)

    def create(self, count: int) -> list[FlowRun]:
        return create_runs(count)

    def halve(self) -> None:
        """Have half of the runs, and of what happens to them."""
        self.runs //= 2
        del self.kills[::2], self.stops[::2]

    def rage(self) -> None:
        """Let the storm pass over; the last zombie is awake when it is over."""
        while self.may_continue():
            now = time.monotonic()
            self.feed(now - self.begun)
            if self.kills and self.kills[0] < now:
                self.kills.pop(0)
                self.kill()
            if self.stops and self.stops[0] < now:
                self.stops.pop(0)
                self.put_to_sleep(now)
            if self.restarts and self.restarts[0] < now:
                self.restarts.pop(0)
                self.restart(cleanly=len(self.restarts) % 2 > 0)
            self.wake(now)
            time.sleep(0.005)

    def may_continue(self) -> bool:
        coming = self.kills or self.stops or self.restarts or self.asleep
        return bool(coming) or len(self.created) < self.runs

    def settle(self) -> None:
        """Wait until all runs have ended and no late worker can write any more."""
        self.camp.wait_until_done(*self.workers)
        self.camp.stop(*self.workers)

    def feed(self, elapsed: float) -> None:
        """Create runs as time goes by, but few at a time: one that was taken must not queue."""
        wanted = min(self.runs, 1 + int(self.runs * elapsed / self.seconds))
        missing = wanted - len(self.created)
        if missing > 0 and FlowRun.objects.live().count() < 2 * len(self.workers):
            self.created += self.create(min(missing, 5))

    def kill(self) -> None:
        victim = self.victim()
        if victim is not None:
            self.replace(victim)

    def replace(self, victim: Forked) -> None:
        """Kill a worker, and begin another one in its place."""
        victim.signal(signal.SIGKILL)
        victim.exit_status()
        self.figures.kills += 1
        self.asleep = [item for item in self.asleep if item[2] is not victim]
        self.workers[self.workers.index(victim)] = self.camp.fork_worker(
            *self.changes, **self.settings
        )

    def restart(self, *, cleanly: bool) -> None:
        """Have the database server away for a while, and a worker die while it is."""
        server = self.camp.server
        if server is None:
            self.camp.kill_connections()
            return
        if cleanly:
            server.stop()
        else:
            server.kill()
        self.replace(self.camp.random.choice(self.workers))
        time.sleep(self.camp.dose.pick(2, 0.3, 0.3))
        server.start()
        self.camp.reconnect()

    def put_to_sleep(self, now: float) -> None:
        """Stop a worker for 2.5 leases, and on until others have gone on with its run."""
        victim = self.victim()
        if victim is None:
            return
        victim.signal(signal.SIGSTOP)
        longest = LEASE * (4 if self.camp.is_sqlite else 12)
        # By another process: this one may have to wait for a lock that the sleeper holds.
        subprocess.Popen(["sh", "-c", f"sleep {longest}; kill -CONT {victim.pid} 2>/dev/null"])
        due = now + LEASE * self.camp.random.uniform(2.5, 4)
        self.asleep.append((due, now + longest, victim))
        self.figures.kills += 1

    def wake(self, now: float) -> None:
        for item in list(self.asleep):
            due, latest, zombie = item
            if latest < now or (due < now and not self.is_missed(zombie)):
                zombie.signal(signal.SIGCONT)
                self.asleep.remove(item)

    def is_missed(self, zombie: Forked) -> bool:
        """Return whether a worker still has runs that no other has taken."""
        return FlowRun.objects.filter(
            status=Status.RUNNING, worker__contains=f":{zombie.pid}:"
        ).exists()

    def victim(self) -> Forked | None:
        """Choose a worker that is awake, one that has a run in its hands if there is one."""
        asleep = {zombie.pid for *_, zombie in self.asleep}
        awake = [worker for worker in self.workers if worker.pid not in asleep]
        names = FlowRun.objects.filter(status=Status.RUNNING).values_list("worker", flat=True)
        pids = {int(name.split(":")[-2]) for name in names if name.count(":") > 1}
        busy = [worker for worker in awake if worker.pid in pids]
        return self.camp.random.choice(busy or awake) if awake else None


@fault("F1", "kill -9 storm and zombies")
def kill_and_stop(camp: Camp, figures: Figures) -> None:
    storm = Storm(camp, figures)
    storm.rage()
    storm.settle()
    camp.audit(figures, storm.created, storm.document)


@fault("F7", "F1 with the fence switched off", control=True)
def storm_without_fence(camp: Camp, figures: Figures) -> None:
    # A storm has to hit a worker between two steps: not each does.
    for _ in range(10):
        camp.clear()
        storm = Storm(camp, figures, switch_the_fence_off)
        # Who comes back does the harm: who is killed while it sleeps does not.
        storm.stops, storm.kills = sorted(storm.stops + storm.kills), []
        storm.rage()
        camp.stop(*storm.workers)
        effects = camp.effects()
        figures.runs += len(storm.created)
        figures.duplicated += sum(n - 1 for (_, label), n in effects.items() if label not in "ad")
        if figures.duplicated:
            return


@fault("F2", "F1 and restarts of the database", databases=SERVERS)
def storm_with_restarts(camp: Camp, figures: Figures) -> None:
    """The server stops as an operator stops it, and next time by kill -9, to recover at its start.

    Where it is not the campaign's own, it hangs up on everybody instead.
    """
    storm = Storm(camp, figures)
    if camp.dose.name != "full":
        storm.halve()
    count = camp.dose.pick(6, 2, 2)
    storm.restarts = [storm.begun + storm.seconds * (n + 0.5) / count for n in range(count)]
    storm.rage()
    storm.settle()
    camp.audit(figures, storm.created, storm.document)
    if camp.server is None:
        figures.note += f"{count} hang-ups; "
        kind = DATABASES[camp.scratch.database]
        camp.leave_out(figures, "restarts", kind.why_not())
    else:
        figures.note += f"{count} restarts, {count // 2} of them after kill -9"
