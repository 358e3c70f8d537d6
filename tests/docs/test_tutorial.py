"""The tutorial works: a project is made of its snippets, in a folder of its own, and runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, read

# What a reader does by hand, or what is done already where the tests run.
BY_HAND = (
    "python -m venv",
    ". .venv/bin/activate",
    "pip install",
    "python manage.py createsuperuser",
    "python manage.py runserver",
    "python manage.py flowcontrol worker",
)
PLACE = re.compile(r"(Write|Add to the end of|Add to) `([\w./]+\.py|[\w.]+\.yaml)`:$")

# Runs a session of the shell, compared as doctest does it.
SESSION = """
import doctest, sys
import django
django.setup()
source = sys.stdin.read()
test = doctest.DocTestParser().get_doctest(source, {}, "tutorial", "docs/tutorial.md", 0)
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
sys.exit(runner.run(test).failed)
"""

# Opens the pages of the admin that the tutorial names.
ADMIN = """
import django
django.setup()
from django.conf import settings
settings.ALLOWED_HOSTS = ["testserver"]
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from flowcontrol.models import Flow, FlowRun
client = Client()
client.force_login(User.objects.create_superuser("me", password="me"))
index = client.get(reverse("admin:index"))
assert "Flow control" in index.content.decode(), "no section in the admin"
for model, pk in (("flow", Flow.objects.get().pk), ("flowrun", FlowRun.objects.first().pk)):
    for url in (
        reverse(f"admin:flowcontrol_core_{model}_changelist"),
        reverse(f"admin:flowcontrol_core_{model}_change", args=[pk]),
    ):
        assert client.get(url, follow=True).status_code == 200, url
"""


class Project:
    """The reader's project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "FLOWCONTROL_"))
        } | {"PYTHONPATH": str(folder), "DJANGO_SETTINGS_MODULE": "bookshop.settings"}

    def follow(self, block: Block) -> None:
        """Do what the tutorial asks for with a block."""
        if block.language == "sh":
            for line in block.text.splitlines():
                self.type(line)
        elif block.language in {"python", "yaml"}:
            self.write(block)

    def type_into_the_shell(self, session: str) -> None:
        self.execute([sys.executable, "-c", SESSION], session)

    def type(self, line: str) -> None:
        if line.startswith(BY_HAND):
            return
        command, *arguments = shlex.split(line)
        assert command == "python", line
        self.execute([sys.executable, *arguments])

    def write(self, block: Block) -> None:
        if block.before == "Add to the flow in `welcome.yaml`, on the level of `document`:":
            file = self.folder / "welcome.yaml"
            text = file.read_text(encoding="utf-8")
            place = "    document:\n"
            assert text.count(place) == 1
            file.write_text(text.replace(place, block.text + place), encoding="utf-8")
            return
        match = PLACE.search(block.before)
        assert match is not None, f"line {block.line}: where does this go?"
        file = self.folder / match[2]
        before = file.read_text(encoding="utf-8") if match[1] != "Write" else ""
        file.write_text(f"{before}\n{block.text}", encoding="utf-8")

    def execute(self, command: list[str], given: str | None = None) -> None:
        done = self.attempt(command, given)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def attempt(
        self, command: list[str], given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.mark.slow
def test_the_tutorial_can_be_followed_from_the_first_to_the_last_snippet(tmp_path: Path) -> None:
    project = Project(tmp_path)
    found = blocks(read("tutorial.md"))
    for is_shell, group in groupby(found, key=lambda block: block.language == "pycon"):
        if is_shell:
            project.type_into_the_shell("".join(block.text for block in group))
        else:
            for block in group:
                project.follow(block)
    project.execute([sys.executable, "-c", ADMIN])
    assert_the_mistake_is_found(project)


def assert_the_mistake_is_found(project: Project) -> None:
    file = project.folder / "welcome.yaml"
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace("object.newsletter", "object.newsleter"), encoding="utf-8")
    command = [sys.executable, "manage.py", "flowcontrol", "import", "welcome.yaml", "--publish"]
    done = project.attempt(command)
    assert done.returncode != 0
    assert "nothing was imported" in done.stderr
    assert "newsletter" in done.stderr


def test_every_command_of_the_tutorial_is_executed_or_known_to_be_done_by_hand() -> None:
    found = blocks(read("tutorial.md"), "sh")
    lines = [line for block in found for line in block.text.splitlines()]
    executed = [line for line in lines if not line.startswith(BY_HAND)]
    assert len(executed) >= 6
    assert all(line.startswith("python ") for line in executed)
