"""The servers of the campaign's own: they outlive their restarts, but never the campaign."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.hosts import Server, descendants, is_alive
from chaos.pgbouncer import PgBouncer
from chaos.servers import MariaDB, PostgreSQL, RabbitMQ, Redis, Servers
from tests.databases import ROOT

KINDS: tuple[type[Server], ...] = (PostgreSQL, PgBouncer, MariaDB, Redis, RabbitMQ)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redis, "programs", ("no-such-server",))
    assert Redis.why_not() == "no-such-server not installed"
    with Servers() as servers:
        servers.expect(Redis)
        with pytest.raises(RuntimeError, match="no-such-server not installed"):
            servers.get(Redis)
        assert servers.running(Redis) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_server_comes_back_however_it_went_and_ends_with_the_campaign(
    kind: type[Server],
) -> None:
    if why := kind.why_not():
        pytest.skip(why)
    with Servers() as servers:
        server = servers.get(kind)
        for end in (server.stop, server.kill):
            end()
            assert not server.answers()
            server.start()
            assert server.answers()
        assert server.process is not None
        processes = [server.process.pid, *descendants(server.process.pid)]
    assert not server.answers()
    assert not any(is_alive(pid) for pid in processes)
    assert not server.folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_campaign_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    if why := PostgreSQL.why_not():
        pytest.skip(why)
    arguments = ["-m", "chaos", "--database", "postgresql", "--only", "F1", "--dose", "full"]
    with (tmp_path / "output").open("wb") as output:
        campaign = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output
        )
    deadline = time.monotonic() + 60
    while len(descendants(campaign.pid)) < 12 and time.monotonic() < deadline:
        time.sleep(0.1)
    processes = descendants(campaign.pid)
    assert len(processes) >= 12, (tmp_path / "output").read_text()
    campaign.send_signal(number)
    assert campaign.wait(60) != 0
    deadline = time.monotonic() + 10
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in processes if is_alive(pid)] == []
