"""The how-to guides work: their Python is executed, and the tests in it pass.

A block marked ``fragment`` is left out, as it needs files around it; one marked ``settings`` is
checked as settings, one marked ``typed`` by mypy, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import TestCase
from pytest_django import DjangoDbBlocker

from flowcontrol.registry import registry
from flowcontrol_core.conf import known_names
from tests.cases import each
from tests.docs.pages import DOCS, Block, blocks
from tests.shop import models as shop_models

PAGES = sorted((DOCS / "how-to").glob("*.md"))


@pytest.fixture(autouse=True)
def the_readers_shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in for the app ``shop`` of the reader, and forget what a page registers."""
    shop, warehouse = ModuleType("shop"), ModuleType("shop.warehouse")
    numbers = count(1)
    reserved: dict[str, int] = {}
    vars(warehouse).update(
        Busy=type("Busy", (Exception,), {}),
        reserve=lambda _order, *, key: reserved.setdefault(key, next(numbers)),
    )
    vars(shop).update(models=shop_models, warehouse=warehouse)
    monkeypatch.setitem(sys.modules, "shop", shop)
    monkeypatch.setitem(sys.modules, "shop.models", shop_models)
    monkeypatch.setitem(sys.modules, "shop.warehouse", warehouse)
    before = registry.snapshot()
    yield
    registry.restore(before)


def executed(page: Path) -> dict[str, Any]:
    """Execute the blocks of a page as one module of the reader's app, and return its names."""
    # The name decides about the keys of its actions: those of the app that contains the module.
    names: dict[str, Any] = {"__name__": "tests.shop.flow_actions"}
    for block in python(page, "", "typed"):
        exec(compile(f"{chr(10) * (block.line - 1)}{block.text}", str(page), "exec"), names)
    return names


def python(page: Path, *infos: str) -> list[Block]:
    found = blocks(page.read_text(encoding="utf-8"), "python")
    assert {block.info for block in found} <= {"", "fragment", "settings", "typed"}
    return [block for block in found if block.info in infos]


@pytest.mark.usefixtures("django_db_setup")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_guide_works_and_its_tests_pass(
    page: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    # Not in a transaction: a TestCase opens its own, and closes the connection after it.
    with django_db_blocker.unblock():
        for name, value in executed(page).items():
            if name.startswith("test_"):
                value()
            elif isinstance(value, type) and issubclass(value, TestCase) and value is not TestCase:
                assert_passes(value)


def assert_passes(tests: type[TestCase]) -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(tests).run(result)
    assert result.testsRun
    assert result.failures + result.errors == []


@each("page", PAGES)
def test_the_settings_of_a_guide_exist(page: Path) -> None:
    for block in python(page, "settings"):
        settings: dict[str, Any] = {}
        exec(block.text, settings)
        assert settings.get("FLOWCONTROL", {}).keys() <= known_names()


@pytest.mark.slow
def test_a_typed_action_passes_the_type_checker_in_its_strictest_form(tmp_path: Path) -> None:
    (block,) = python(DOCS / "how-to" / "write-an-action.md", "typed")
    module = tmp_path / "flow_actions.py"
    wrong = block.text.replace("config.times", "config.tmies")
    assert "config.tmies" in wrong
    for text, errors in ((block.text, []), (wrong, ["tmies"])):
        module.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(module)]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        found = [line for line in done.stdout.splitlines() if " error: " in line]
        assert len(found) == len(errors), done.stdout + done.stderr
        assert all(error in line for error, line in zip(errors, found, strict=True))


@pytest.mark.django_db
def test_a_guide_that_fires_a_trigger_wakes_what_waits_for_it() -> None:
    names = executed(DOCS / "how-to" / "register-a-trigger.md")
    ada = shop_models.Customer.objects.create(name="Ada")
    order = shop_models.Order.objects.create(customer=ada)
    names["receive_payment"](order, 12, "card")
    names["receive_webhook"](order, {"id": "1", "amount": 12})
    order.refresh_from_db()
    assert order.status == "paid"


@pytest.mark.slow
def test_the_celery_project_of_the_guide_knows_the_tasks_and_sends_them(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "run-on-celery.md"
    app, package = (block.text for block in python(page, "fragment"))
    (settings,) = (block.text for block in python(page, "settings"))
    common = (
        "from flowcontrol_core import plugin_apps\nSECRET_KEY = 'test'\nUSE_TZ = True\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes',"
        " 'flowcontrol_core', *plugin_apps(), 'shop']\n"
    )
    files = {
        "bookshop/__init__.py": package,
        "bookshop/celery.py": app,
        "bookshop/settings.py": common + settings,
        "shop/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    script = (
        "import django; django.setup()\n"
        "from flowcontrol_core.runs.store.connection import senders\n"
        "assert 'celery' in senders\n"
        "from bookshop.celery import app\n"
        "app.loader.import_default_modules()\n"
        "assert app.conf.broker_url == 'amqp://localhost'\n"
        "assert app.conf.beat_schedule['flowcontrol']['task'] in app.tasks\n"
        "assert 'flowcontrol.tasks.run_flowruns_task' in app.tasks\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "FLOWCONTROL_"))
    } | {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "bookshop.settings"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
