"""The setting SIGNAL_MODELS: a label without a model is reported; all others work."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks

from flowcontrol.conf import get_settings
from flowcontrol_triggers_signals.checks import check_signal_models
from flowcontrol_triggers_signals.signal_models import find_models
from tests.cases import each
from tests.shop.models import Customer, Order


def test_labels_are_found_once_each_in_their_order() -> None:
    found = find_models(["shop.order", "shop.customer", "shop.Order"])
    assert list(found.models) == [Order, Customer]
    assert list(found.problems) == []


@each(
    ("label", "problem"),
    [
        ("shop.nothing", "names no model"),
        ("nowhere.order", "names no model"),
        ("order", "names no model"),
        ("a.b.c", "names no model"),
        (7, "names no model"),
        (None, "names no model"),
    ],
)
def test_unknown_label_is_a_problem_and_the_others_work(label: Any, problem: str) -> None:
    found = find_models([label, "shop.order"])
    assert list(found.models) == [Order]
    assert problem in found.problems[0]
    assert repr(label) in found.problems[0]


@pytest.mark.parametrize("value", ["shop.order", 7, None])
def test_setting_that_is_no_list_is_a_problem(value: Any) -> None:
    found = find_models(value)
    assert list(found.models) == []
    assert "not a list" in found.problems[0]


def test_swapped_model_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Order._meta, "swapped", "own.Order")
    assert "own.Order" in find_models(["shop.order"]).problems[0]


def test_check_has_id_and_hint(settings: Any) -> None:
    settings.FLOWCONTROL = {"SIGNAL_MODELS": ["shop.nothing"]}
    (warning,) = check_signal_models()
    assert (warning.id, warning.level) == ("flowcontrol_signals.W001", checks.WARNING)
    assert "'shop.nothing'" in warning.msg
    assert warning.hint


def test_check_is_registered_and_passes_the_settings_of_the_tests() -> None:
    registered = {
        getattr(each, "__name__", "") for each in checks.registry.registry.registered_checks
    }
    assert "check_signal_models" in registered
    assert check_signal_models() == []


@pytest.mark.parametrize("value", [None, [], {}])
def test_project_without_the_setting_names_no_models(settings: Any, value: Any) -> None:
    settings.FLOWCONTROL = value
    assert list(find_models(get_settings().SIGNAL_MODELS).models) == []
