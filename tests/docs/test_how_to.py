"""The how-to guides work: their Python is executed, and the tests in it pass.

A block marked ``fragment`` is left out, as it needs files around it; one marked ``settings`` is
looked at as settings.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import TestCase

from flowcontrol.registry import registry
from flowcontrol_core.conf import known_names
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
    """Execute the blocks of a page as one module of the reader's app, and give its names."""
    # The name decides about the keys of its actions: those of the app that contains the module.
    names: dict[str, Any] = {"__name__": "tests.shop.flow_actions"}
    for block in python(page, ""):
        exec(compile(f"{chr(10) * (block.line - 1)}{block.text}", str(page), "exec"), names)
    return names


def python(page: Path, info: str) -> list[Block]:
    found = blocks(page.read_text(encoding="utf-8"), "python")
    assert {block.info for block in found} <= {"", "fragment", "settings"}
    return [block for block in found if block.info == info]


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_guide_works_and_its_tests_pass(page: Path) -> None:
    names = executed(page)
    for name, value in list(names.items()):
        if name.startswith("test_"):
            value()
        elif isinstance(value, type) and issubclass(value, TestCase) and value is not TestCase:
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
            assert result.testsRun
            assert result.failures + result.errors == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_settings_of_a_guide_exist(page: Path) -> None:
    for block in python(page, "settings"):
        settings: dict[str, Any] = {}
        exec(block.text, settings)
        assert settings["FLOWCONTROL"].keys() <= known_names()


@pytest.mark.django_db
def test_a_guide_that_fires_a_trigger_wakes_what_waits_for_it() -> None:
    names = executed(DOCS / "how-to" / "register-a-trigger.md")
    ada = shop_models.Customer.objects.create(name="Ada")
    order = shop_models.Order.objects.create(customer=ada)
    names["receive_payment"](order, 12, "card")
    names["receive_webhook"](order, {"id": "1", "amount": 12})
    order.refresh_from_db()
    assert order.status == "paid"


def test_the_first_action_of_the_readme_is_a_plugin_in_fifteen_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flowcontrol.testing import flow, run_flow, step
    from flowcontrol_core.plugins.manager import PluginManager, PluginStatus
    from flowcontrol_core.plugins.registry import Registry

    (source,) = (
        block.text
        for block in blocks((DOCS.parent / "README.md").read_text(encoding="utf-8"), "python")
        if "class SendSms" in block.text
    )
    assert sum(1 for line in source.splitlines() if line.strip()) == 15
    sent: list[Any] = []
    package, gateway = ModuleType("flowcontrol_sms"), ModuleType("flowcontrol_sms.gateway")
    vars(gateway).update(send=lambda *args, key: sent.append((*args, key)))
    vars(package).update(gateway=gateway)
    monkeypatch.setitem(sys.modules, "flowcontrol_sms", package)
    module = ModuleType("flowcontrol_sms.plugin")
    exec(source, vars(module))
    report = PluginManager(Registry(), find=tuple).add_module(module, "sms")
    assert (report.status, report.actions) == (PluginStatus.ACTIVE, ("sms.send",))
    with registry.temporary([module.SendSms], plugin="readme"):
        document = flow(step("readme.send", text="Dear {{ object.name }}"))
        run = run_flow(document, shop_models.Customer(name="Ada", phone="123"))
    assert run.outcome == "complete"
    assert [message[:2] for message in sent] == [("123", "Dear Ada")]
