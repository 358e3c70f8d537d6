"""What is in the wheels, and whether they work where nothing else is installed."""

from __future__ import annotations

import os
import re
import subprocess
import venv
import zipfile
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.databases import ROOT
from tests.wheels.build import DISTRIBUTIONS, build_all, build_wheel

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

# A plugin as a stranger would write it: it knows the public API and nothing of this repository.
ACME_FILES = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-greeter"
version = "1.0"
dependencies = ["flowcontrol-core"]

[project.entry-points."flowcontrol.plugins"]
acme = "acme_greeter.plugin"
""",
    "acme_greeter/__init__.py": "",
    "acme_greeter/plugin.py": """
from django import forms

from flowcontrol import hookimpl
from flowcontrol.base import BaseAction, Effects


class Greet(BaseAction):
    name = "greet"
    verbose_name = "Greet a person"
    group = "Acme"
    effects = Effects.NONE

    class Config(forms.Form):
        whom = forms.CharField(max_length=40, help_text="Who is greeted.")

    def run(self, *, run, obj, config):
        run.state["greeting"] = f"Hello {config.whom}"


@hookimpl
def flowcontrol_actions():
    return [Greet]
""",
}

# A Django project with the core and nothing of its own.
PROJECT_FILES = {
    "project_settings.py": """
from flowcontrol_core import plugin_apps

SECRET_KEY = "for this test only"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "flowcontrol_core",
    *plugin_apps(),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "project_urls"
STATIC_URL = "static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "project.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
""",
    # What a worker needs of it: the same database, and no page.
    "worker_settings.py": """
from flowcontrol_core import plugin_apps
from project_settings import *

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "flowcontrol_core",
    *plugin_apps(exclude=["admin"]),
]
ROOT_URLCONF = "worker_urls"
MIDDLEWARE = []
TEMPLATES = []
""",
    "worker_urls.py": "urlpatterns = []",
    "project_urls.py": """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
""",
}


def script_that_imports_before_django_is_set_up() -> str:
    """The text of a script: the public package works without settings and imports no plugin."""
    return """
import sys

import flowcontrol
from django.conf import settings

assert callable(flowcontrol.hookimpl)
assert flowcontrol.plugin_apps() == []
assert not settings.configured, "importing flowcontrol must not need settings"
assert "acme_greeter" not in sys.modules, "importing flowcontrol must not import a plugin"
"""


def script_that_finds_the_action() -> str:
    """The text of a script: the stranger's action is registered, with its form."""
    return """
import django

django.setup()

from flowcontrol.registry import registry

assert list(registry.actions) == ["acme.greet"], list(registry.actions)
action = registry.get_action("acme.greet").action
assert action.verbose_name == "Greet a person"
assert not action.Config({}).is_valid()
assert action.Config({"whom": "Ada"}).is_valid()
"""


def script_that_finds_what_is_built_in() -> str:
    """The text of a script: the admin, the built-in actions and the signals are at work."""
    return """
import django

django.setup()

from django.apps import apps
from django.urls import reverse

from flowcontrol.registry import registry

assert apps.is_installed("flowcontrol_admin")
assert reverse("admin:flowcontrol_core_flow_changelist")
plugins = {key.partition(".")[0] for key in [*registry.actions, *registry.triggers]}
assert plugins == {"acme", "builtin", "signals"}, plugins
"""


def script_that_works_without_pages() -> str:
    """The text of a script: a worker executes a run and has imported no page."""
    return """
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "worker_settings"

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)

from flowcontrol.engine import create_flowrun
from flowcontrol.testing import flow, publish_flow, step

publish_flow(flow(step("builtin.update_state", state={"n": 1})), key="worker")
run = create_flowrun("worker")
call_command("flowcontrol", "worker", "--once")
run.refresh_from_db()
assert run.outcome == "complete", run.reason
pages = ("flowcontrol_admin", "django.contrib.admin")
assert not [name for name in sys.modules if name.startswith(pages)]
"""


def script_that_uses_the_action_in_the_admin() -> str:
    """The text of a script: the picker offers the action, its form configures it, a run does it."""
    return """
import html
import re
from urllib.parse import urljoin

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth import get_user_model
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import reverse

from flowcontrol.engine import start_flowrun

setup_test_environment()
get_user_model().objects.create_superuser("ada", password="secret")
client = Client()
assert client.login(username="ada", password="secret")
page = client.post(
    reverse("admin:flowcontrol_core_flow_add"),
    {"name": "Greeting", "key": "greeting"},
    follow=True,
)
assert page.status_code == 200, page.status_code
editor = page.request["PATH_INFO"]
(key,) = re.findall(r"/flow/(\\d+)/", editor)
link = re.findall(r'href="([^"]*add-step/[^"]*)"', page.content.decode())[0]
picker = urljoin(editor, html.unescape(link))
offered = client.get(picker).content.decode()
assert "Greet a person" in offered and "Acme" in offered, offered
hidden = dict(re.findall(r'type="hidden" name="(revision|place)" value="([^"]*)"', offered))
assert 'name="action" value="acme.greet"' in offered, offered
page = client.post(picker, hidden | {"action": "acme.greet"}, follow=True)
assert "Who is greeted." in page.content.decode(), page.content.decode()
(field,) = re.findall(r'name="([^"]*whom)"', page.content.decode())
revision = re.findall(r'name="revision" value="(\\d+)"', page.content.decode())[0]
page = client.post(page.request["PATH_INFO"], {field: "Ada", "revision": revision}, follow=True)
assert page.status_code == 200, page.content.decode()
publish = reverse("admin:flowcontrol_core_flow_publish", args=[key])
revision = re.findall(r'name="revision" value="(\\d+)"', client.get(publish).content.decode())[0]
page = client.post(publish, {"revision": revision}, follow=True)
assert page.status_code == 200, page.content.decode()
page = client.post(reverse("admin:flowcontrol_core_flow_activate", args=[key]), follow=True)
run = start_flowrun("greeting")
assert (run.outcome, run.state) == ("complete", {"greeting": "Hello Ada"}), (run.reason, run.state)
"""


class Site:
    """An environment with a project and the given wheels: nothing else is installed."""

    def __init__(self, folder: Path, wheels: Mapping[str, Path], *requirements: str) -> None:
        self.folder = folder
        self._wheels = wheels
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        write_files(folder, PROJECT_FILES)
        self.install(*requirements)

    def install(self, *requirements: str) -> None:
        """Install the wheels of these names, with their extras and whatever they need."""
        found = [re.sub(r"^\w+", self._path, requirement) for requirement in requirements]
        links = {f"--find-links={path.parent}" for path in self._wheels.values()}
        self.python("-m", "pip", "install", "--quiet", *links, *found)

    def _path(self, name: re.Match[str]) -> str:
        return str(self._wheels[name[0]])

    def python(self, *arguments: str) -> str:
        """Run the environment's Python and return its output; fail the test if it fails."""
        finished = subprocess.run(
            [self.folder / "venv" / "bin" / "python", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def run_script(self, text: str) -> str:
        """Run a script as a file in the project's folder; its output."""
        script = self.folder / "script.py"
        script.write_text(text)
        return self.python("-W", "error", script.name)

    def _environment(self) -> Mapping[str, str]:
        # The checkout must not be importable: only what the wheels brought may be found.
        outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return outside | {"DJANGO_SETTINGS_MODULE": "project_settings"}


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = build_all(tmp_path_factory.mktemp("wheels"))
    source = tmp_path_factory.mktemp("acme")
    write_files(source, ACME_FILES)
    return built | {"acme_greeter": build_wheel(source, source / "dist")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Site:
    """A site with the core alone and the stranger's plugin."""
    return Site(tmp_path_factory.mktemp("site"), wheels, "flowcontrol_core", "acme_greeter")


@pytest.fixture(scope="module")
def standard_site(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Site:
    """A site with what most projects install, and the stranger's plugin."""
    folder = tmp_path_factory.mktemp("standard")
    return Site(folder, wheels, "flowcontrol_core[standard]", "acme_greeter")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_wheel_holds_every_file_of_its_packages(distribution: str, wheels: dict[str, Path]) -> None:
    source = ROOT / distribution / "src"
    ignored = re.compile(r"(^|/)(__pycache__|\.[^/]*)/")
    with zipfile.ZipFile(wheels[Path(distribution).name]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    present = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and not ignored.search(path.relative_to(source).as_posix())
    }
    assert packed == present
    packages = {name.partition("/")[0] for name in packed}
    assert {f"{package}/py.typed" for package in packages} <= packed


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_wheel_carries_the_license(distribution: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[Path(distribution).name]) as wheel:
        (license_file,) = (name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
        assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()


def requirements_by_extra(wheel: Path) -> dict[str, set[str]]:
    """The names of what each extra of a wheel asks for."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(opened.read(name))
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return {
        extra: {
            each.name
            for each in requirements
            if each.marker is not None and each.marker.evaluate({"extra": extra})
        }
        for extra in metadata.get_all("Provides-Extra", [])
    }


def test_extras_of_the_core_bring_what_they_are_named_after(wheels: dict[str, Path]) -> None:
    assert requirements_by_extra(wheels["flowcontrol_core"]) == {
        "celery": {"celery"},
        "mariadb": {"mysqlclient"},
        "postgresql": {"psycopg"},
        "standard": {
            "flowcontrol-actions-builtin",
            "flowcontrol-admin",
            "flowcontrol-triggers-signals",
        },
    }


def test_public_package_imports_before_django_is_set_up(site: Site) -> None:
    site.run_script(script_that_imports_before_django_is_set_up())


def test_migrations_come_with_the_wheel(site: Site) -> None:
    site.python("-m", "django", "migrate", "--verbosity=0")
    site.python("-m", "django", "makemigrations", "--check", "--dry-run")


def test_action_of_a_strangers_plugin_is_registered(site: Site) -> None:
    site.run_script(script_that_finds_the_action())


def test_installed_core_passes_the_system_checks(site: Site) -> None:
    assert "no issues" in site.python("-m", "django", "check")


def test_standard_extra_brings_the_admin_the_actions_and_the_signals(standard_site: Site) -> None:
    standard_site.run_script(script_that_finds_what_is_built_in())
    assert "no issues" in standard_site.python("-m", "django", "check")


def test_action_of_a_strangers_plugin_is_used_in_the_admin(standard_site: Site) -> None:
    standard_site.run_script(script_that_uses_the_action_in_the_admin())


def test_worker_that_leaves_the_admin_out_imports_no_page(standard_site: Site) -> None:
    standard_site.run_script(script_that_works_without_pages())


def test_celery_and_the_driver_of_postgresql_come_with_their_extras(standard_site: Site) -> None:
    standard_site.install("flowcontrol_core[celery,postgresql]")
    standard_site.run_script(
        """
import django
from importlib.metadata import version

django.setup()

from flowcontrol.tasks import continue_flowruns_task

assert continue_flowruns_task.name == "flowcontrol.tasks.continue_flowruns_task"
assert version("psycopg")
"""
    )
