"""The package ``flowcontrol``: light to import, and complete."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import flowcontrol
from tests.cases import each

MODULES = [
    *("base", "engine", "errors", "flows", "forms", "health", "models", "redaction", "registry"),
    *("runs", "tasks", "testing", "triggers"),
]


def test_the_version_is_that_of_the_distribution() -> None:
    assert flowcontrol.__version__ == version("flowcontrol-core")


def test_importing_the_package_imports_neither_django_nor_a_plugin() -> None:
    code = (
        "import sys, flowcontrol\n"
        "print([n for n in sys.modules if n.startswith(('django', 'flowcontrol_actions'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@each("name", MODULES)
def test_a_public_module_says_what_it_offers_and_has_it(name: str) -> None:
    module = importlib.import_module(f"flowcontrol.{name}")
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    assert list(dict.fromkeys(module.__all__)) == module.__all__


def test_every_error_is_public() -> None:
    internal = importlib.import_module("flowcontrol_core.errors")
    public = importlib.import_module("flowcontrol.errors")
    own = {
        name
        for name, value in vars(internal).items()
        if isinstance(value, type)
        and value.__module__ == internal.__name__
        and name != "Translations"
    }
    assert own == set(public.__all__)
