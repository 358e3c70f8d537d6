"""A server of the campaign's own, and what is to be known of the processes of one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from tests.services import dialogue_problem

#: The longest time in seconds that a server takes to start or to stop.
PATIENCE = 60.0
#: Where distributions keep the programs of servers, before those of PATH: RabbitMQ's own script is
#: wrapped there in one that refuses all but two users.
FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin")


class Server(ABC):
    """A server that keeps its data from start to start."""

    programs: ClassVar[tuple[str, ...]]
    #: What its clients in Python need.
    package: ClassVar[str]
    #: As whom it runs where the campaign is root's: most refuse to be.
    account: ClassVar[str] = ""
    scheme: ClassVar[str]
    greeting: ClassVar[bytes] = b""
    #: What an operator has it stop with.
    goodbye: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def why_not(cls) -> str:
        """Return why there can be none on this machine; empty if there can."""
        missing = [name for name in cls.programs if find(name) is None]
        if find_spec(cls.package) is None:
            missing.append(f"the package {cls.package}")
        if missing:
            return f"{', '.join(missing)} not installed"
        if cls.account and os.getuid() == 0 and not has_account(cls.account):
            return f"no user {cls.account}"
        return ""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    def prepare(self) -> None:  # noqa: B027 - not all need anything
        """Make what the server needs before its first start."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = self._launch(self.command())
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.programs[0]} does not start: {self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Have it end as an operator would."""
        assert self.process is not None
        self.process.send_signal(self.goodbye)
        self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it and all that it has started with kill -9; what has ended already is left alone."""
        if self.process is None or self.process.poll() is not None:
            return
        # A stopped process starts no other while they are looked for.
        self.freeze()
        others = descendants(self.process.pid)
        for pid in (self.process.pid, *others):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while any(is_alive(pid) for pid in others) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        """Leave nothing of it running."""
        self.kill()

    def freeze(self) -> None:
        """Have it keep its connections and answer nothing."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def answers(self) -> bool:
        return not dialogue_problem(self.scheme, self.url, self.port, self.greeting)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, *command: str, stdin: str = "") -> None:
        """Run a program of the server's and wait for it."""
        process = self._launch(list(command), stdin=subprocess.PIPE)
        process.communicate(stdin.encode(), timeout=PATIENCE)
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed: {self.log[-2000:]}")

    def _launch(
        self, command: list[str], stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program out of reach of the terminal's Ctrl-C, which is the campaign's."""
        account = pwd.getpwnam(self.account) if self.account and os.getuid() == 0 else None
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(find(command[0])), *command[1:]],
                cwd=self.folder,
                env=self.environment(),
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _signal_all(self, number: signal.Signals) -> None:
        assert self.process is not None
        for pid in (self.process.pid, *descendants(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def find(program: str) -> str | None:
    """Find the path of a program, the newest version where there are several."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4)
    )
    folders = [*FOLDERS, *map(str, reversed(versions)), os.environ.get("PATH", os.defpath)]
    return shutil.which(program, path=os.pathsep.join(folders))


def has_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        if state := _state(path):
            children.setdefault(int(state[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def kill_descendants() -> None:
    """Leave nothing running that this process has started."""
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    state = _state(Path(f"/proc/{pid}/stat"))
    return bool(state) and state[0] != "Z"


def _state(path: Path) -> list[str]:
    """Return what /proc tells of a process behind its name, its state first; nothing of none."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def end_on_signals() -> None:
    """Have SIGTERM and Ctrl-C end this process once, with all that it does at its end."""

    def end(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sys.exit("stopped")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
