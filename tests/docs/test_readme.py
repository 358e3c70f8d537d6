"""The README holds: its plugin is typed in, installed and executed with its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.databases import ROOT
from tests.docs.pages import Block, blocks
from tests.wheels.build import DISTRIBUTIONS, build_wheel

README = (ROOT / "README.md").read_text(encoding="utf-8")
#: What a project of its own has beside the settings of the README.
OWN_SETTINGS = "SECRET_KEY = 'for this test only'\n"
# Executes a flow with the action of the README, and prints how it ended.
SCRIPT = """
import sys

import django

django.setup()
from django.core.management import call_command
from flowcontrol import runs
from flowcontrol.registry import registry
from flowcontrol.testing import flow, publish_flow, step

call_command("migrate", verbosity=0)
call_command("flowcontrol", "plugins")
publish_flow(flow(step("chat.post", url=sys.argv[1], text="Hello {{ state.name }}")), key="greet")
run = runs.start("greet", state={"name": "Ada"})
print(run.outcome, run.reason, dict(run.state))
"""


class Webhook(BaseHTTPRequestHandler):
    """Stands in for the chat; records what is posted to it."""

    received: list[tuple[Message, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.headers, json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, type[Webhook]]]:
    handler = type("OneWebhook", (Webhook,), {"received": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", handler
        server.shutdown()
        thread.join()


def block_with(language: str, text: str) -> Block:
    """Return the one block of the README in this language that contains the text."""
    (found,) = (block for block in blocks(README, language) if text in block.text)
    return found


@pytest.mark.slow
def test_the_plugin_of_the_readme_typed_in_as_it_stands_installs_and_runs(
    tmp_path: Path, webhook: tuple[str, type[Webhook]]
) -> None:
    address, handler = webhook
    source, site, project = (tmp_path / name for name in ("flowcontrol-chat", "site", "project"))
    (tmp_path / "project" / "shop").mkdir(parents=True)
    source.mkdir()
    plugin = block_with("python", "class PostToChat")
    (source / "flowcontrol_chat.py").write_text(plugin.text, encoding="utf-8")
    manifest = block_with("toml", "flowcontrol-chat")
    (source / "pyproject.toml").write_text(manifest.text, encoding="utf-8")
    with zipfile.ZipFile(build_wheel(source, tmp_path)) as wheel:
        wheel.extractall(site)
    settings = [block_with("python", text).text for text in ("INSTALLED_APPS", "DATABASES")]
    (project / "shop" / "settings.py").write_text("\n".join([OWN_SETTINGS, *settings]), "utf-8")

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, address],
        cwd=project,
        env=environment(site, project),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "complete  {'name': 'Ada', 'chat_status': 204}"
    assert any(line.startswith("chat ") and "active" in line for line in done.stdout.splitlines())
    ((headers, body),) = handler.received
    assert body == {"text": "Hello Ada"}
    assert headers["Idempotency-Key"]


def environment(*folders: Path) -> dict[str, str]:
    """Return the environment of a process that knows nothing of this repository's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "FLOWCONTROL_"))
    } | {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }


def test_the_readme_names_every_distribution() -> None:
    table = README.partition("## Distributions")[2]
    for name in DISTRIBUTIONS:
        assert f"[{Path(name).name.replace('_', '-')}]({name}/README.md)" in table
