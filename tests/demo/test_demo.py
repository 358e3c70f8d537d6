"""The demo runs, checks its story, and uses every action and kind of trigger."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcontrol.registry import registry
from tests.databases import ROOT

DEMO = ROOT / "demo"


def documents() -> list[dict[str, Any]]:
    files = sorted((DEMO / "flows").glob("*.yaml"))
    return [flow for file in files for flow in yaml.safe_load(file.read_text())["flows"]]


def actions_of(steps: list[dict[str, Any]]) -> set[str]:
    found = {step["action"] for step in steps}
    inside = [branch for step in steps for branch in step.get("branches", {}).values()]
    return found.union(*(actions_of(branch) for branch in inside))


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "FLOWCONTROL_DEMO_FOLDER": str(folder), "PYTHONUNBUFFERED": "1"}


def run_demo(demo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(demo / "main.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_site(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(DEMO / "main.py"), "site", "--port", str(port)]
    with subprocess.Popen(
        command,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as site:
        watchdog = threading.Timer(60, site.kill)
        watchdog.start()
        try:
            yield site
        finally:
            watchdog.cancel()
            if site.poll() is None:
                site.kill()


def test_flows_of_the_demo_use_every_action() -> None:
    used = set().union(*(actions_of(flow["document"]["steps"]) for flow in documents()))
    installed = {key for key, entry in registry.actions.items() if entry.distribution}
    assert len(installed) >= 14
    assert installed - used == set()
    assert {key for key in used - installed if not key.startswith("shop.")} == set()


def test_flows_of_the_demo_use_each_kind_of_trigger() -> None:
    used = {item["trigger"] for flow in documents() for item in flow.get("triggers", [])}
    assert used == {
        "shop.order_paid",
        "signals.auth.logged_in",
        "signals.auth.login_failed",
        "signals.shop.customer.created",
        "signals.shop.customer.deleted",
        "signals.shop.order.created",
        "signals.shop.order.updated",
    }


@pytest.mark.slow
def test_demo_meets_its_expectations() -> None:
    finished = run_demo(DEMO)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    assert finished.stdout.splitlines()[-1].startswith("The demo is OK: all ")
    assert "NOT ok" not in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "unmet"),
    [
        ("order-follow-up", 'end: "4"', 'end: "3"', "Bruno got 6 e-mails"),
        ("nightly-digest", 'day: "22:00"', 'day: "21:00"', "the digest is sent at ten"),
        ("password-alarm", "{max_concurrent: 1}", "{}", "the limit refused a second alarm"),
    ],
)
def test_demo_with_an_unmet_expectation_fails(
    tmp_path: Path, file: str, old: str, new: str, unmet: str
) -> None:
    demo = tmp_path / "demo"
    shutil.copytree(DEMO, demo, ignore=shutil.ignore_patterns(".demo", "__pycache__"))
    flow = demo / "flows" / f"{file}.yaml"
    assert old in flow.read_text()
    flow.write_text(flow.read_text().replace(old, new))
    finished = run_demo(demo)
    lines = finished.stdout.splitlines()
    assert finished.returncode == 1
    assert any(line.startswith(f"  NOT ok  {unmet}") for line in lines), finished.stdout
    assert lines[-1].startswith("The demo FAILED: ")


@pytest.mark.slow
def test_site_is_served_with_a_worker_until_it_is_interrupted(tmp_path: Path) -> None:
    port = free_port()
    with running_site(tmp_path, port) as site:
        assert site.stdout is not None
        shown = ""
        while "The worker has started." not in shown or "Ctrl-C" not in shown:
            line = site.stdout.readline()
            assert line, shown
            shown += line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/login/") as page:
            assert page.status == 200
        site.send_signal(signal.SIGINT)
        rest = site.stdout.read()
    assert "The worker has stopped." in rest
    assert rest.rstrip().endswith("The site and its worker have stopped.")
    assert site.returncode == 0
    assert (tmp_path / "demo.sqlite3").exists()


@pytest.mark.slow
def test_site_reports_that_its_port_is_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finished = run_demo(DEMO, "site", "--port", str(port))
    assert finished.returncode == 1
    assert finished.stdout.startswith(f"Port {port} is in use: choose another with make site")
