"""Beside django-flowcontrol, whose package is called `flowcontrol` too: the cause is named."""

from __future__ import annotations

import os
import subprocess
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import ROOT
from tests.wheels.build import build_wheel

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

# The files of that distribution which ours has as well, and one that is a package there: that one
# is imported, not our module, in either order.
THEIRS = {
    "flowcontrol/__init__.py": '__version__ = "0.0.20"\n',
    "flowcontrol/base.py": "",
    "flowcontrol/conf.py": "",
    "flowcontrol/engine.py": "",
    "flowcontrol/models/__init__.py": "",
    "flowcontrol/registry.py": "",
    "flowcontrol/tasks.py": "",
}
INFO = "django_flowcontrol-0.0.21.dist-info"
SETTINGS = """
from flowcontrol_core import plugin_apps

SECRET_KEY = "for this test only"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "flowcontrol_core",
    *plugin_apps(),
]
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
USE_TZ = True
"""
REMEDY = "`pip install --force-reinstall --no-deps flowcontrol-core`"


class Site:
    """A project whose settings are those of the README, with our wheel and theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours = build_wheel(ROOT / "flowcontrol_core", folder)
        self.theirs = build_theirs(folder)
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        (folder / "project_settings.py").write_text(SETTINGS)
        self.pip("install", str(self.ours))

    def pip(self, *arguments: str) -> None:
        """Call pip; fail the test if it fails."""
        finished = self._python("-m", "pip", "--quiet", *arguments)
        assert finished.returncode == 0, finished.stdout

    def install_again(self, wheel: Path) -> None:
        """Do with a wheel what `pip install --force-reinstall --no-deps` does."""
        self.pip("install", "--force-reinstall", "--no-deps", str(wheel))

    def check(self) -> str:
        """Return the last line of what `manage.py check` writes."""
        return self._python("-m", "django", "check").stdout.strip().splitlines()[-1]

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.folder / "venv" / "bin" / "python", *arguments],
            cwd=self.folder,
            env=outside | {"DJANGO_SETTINGS_MODULE": "project_settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def build_theirs(folder: Path) -> Path:
    """Build a wheel of that name, version and package; nothing is downloaded."""
    path = folder / "django_flowcontrol-0.0.21-py3-none-any.whl"
    files = THEIRS | {
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: django-flowcontrol\nVersion: 0.0.21\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},," for name in [*files, f"{INFO}/RECORD"]]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in (files | {f"{INFO}/RECORD": "\n".join(record)}).items():
            wheel.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def install_theirs_after_ours(site: Site) -> None:
    site.install_again(site.ours)
    site.install_again(site.theirs)


def install_ours_after_theirs(site: Site) -> None:
    install_theirs_after_ours(site)
    site.install_again(site.ours)


def uninstall_theirs(site: Site) -> None:
    site.pip("uninstall", "--yes", "django-flowcontrol")


def uninstall_theirs_after_ours(site: Site) -> None:
    install_theirs_after_ours(site)
    uninstall_theirs(site)


def uninstall_theirs_before_ours(site: Site) -> None:
    install_ours_after_theirs(site)
    uninstall_theirs(site)


@pytest.mark.parametrize("install", [install_theirs_after_ours, install_ours_after_theirs])
def test_settings_name_the_other_distribution(site: Site, install: Callable[[Site], None]) -> None:
    install(site)
    error = site.check()
    assert error.startswith("ImportError: django-flowcontrol 0.0.21 is installed too")
    assert "Run `pip uninstall django-flowcontrol`, then" in error
    assert REMEDY in error


@pytest.mark.parametrize("install", [uninstall_theirs_after_ours, uninstall_theirs_before_ours])
def test_settings_name_what_uninstalling_it_has_removed(
    site: Site, install: Callable[[Site], None]
) -> None:
    install(site)
    error = site.check()
    assert error.startswith("ImportError: Files of the package `flowcontrol` are missing")
    assert "django-flowcontrol" in error
    assert REMEDY in error
    site.install_again(site.ours)
    assert "no issues" in site.check()
