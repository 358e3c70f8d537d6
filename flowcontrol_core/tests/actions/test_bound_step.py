"""A step bound to its action: versions of its configuration, computed values, what is shared."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms

from flowcontrol.forms import ExpressionField, JSONExpressionField, TemplateField
from flowcontrol.testing import flow, step
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.bound_step import bind_step
from flowcontrol_core.actions.config import BoundConfig, bind, upgraded_config
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.document.tree import Step
from flowcontrol_core.errors import ConfigError, ExpressionError, UnknownActionError
from flowcontrol_core.expressions import Scope
from flowcontrol_core.runs.store.compiled import compile_flow
from tests.shop.models import Customer


class Greet(BaseAction):
    name = "greet"
    effects = Effects.DATABASE
    config_version = 3
    branches = ("then", "else")
    timeout = 20

    class Config(forms.Form):
        text = forms.CharField()
        tags = forms.JSONField(required=False)

    def run(self, **_: Any) -> None: ...

    def upgrade_config(self, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        if from_version < 2:
            config["text"] = config.pop("message")
        if from_version < 3:
            config["tags"].append("upgraded")
        return config


class Loop(Greet):
    name = "loop"
    is_loop = True


@pytest.fixture
def source() -> Registry:
    registry = Registry()
    registry.add_action(Greet, plugin="test")
    registry.add_action(Loop, plugin="test")
    return registry


def greet(version: int = 3, **config: Any) -> Step:
    return step("test.greet", id="a", config=config, config_version=version)


def scope(**state: Any) -> Scope:
    return Scope(state=state, now=datetime(2026, 1, 5, tzinfo=UTC))


def at(bound: BoundConfig, **state: Any) -> Any:
    """Return a configuration in a situation; which attributes it has, only its form knows."""
    return bound.at(scope(**state))


def test_a_step_is_bound_to_its_action_with_its_configuration(source: Registry) -> None:
    bound = bind_step(greet(text="Hi"), UTC, source)
    assert (bound.key, bound.effects, bound.branch) == ("test.greet", Effects.DATABASE, "then")
    assert (at(bound.config).text, bound.timeout) == ("Hi", 20)
    assert (
        bind_step(step("test.greet", text="Hi", timeout=5, config_version=3), UTC, source).timeout
        == 5
    )


def test_a_configuration_of_an_older_version_is_upgraded_and_the_document_stays(
    source: Registry,
) -> None:
    old = greet(1, message="Hi", tags=["a"])
    for _ in range(2):
        bound = bind_step(old, UTC, source)
        config = at(bound.config)
        assert (config.text, config.tags) == ("Hi", ["a", "upgraded"])
    assert old.config == {"message": "Hi", "tags": ["a"]}


def test_a_configuration_of_a_newer_version_is_refused_with_what_to_do(source: Registry) -> None:
    with pytest.raises(ConfigError, match=r"newer version \(4\) .* \(3\)\. Upgrade its plugin"):
        bind_step(greet(4, text="Hi"), UTC, source)


def test_an_upgrade_that_raises_is_an_error_of_the_configuration(source: Registry) -> None:
    with pytest.raises(ConfigError, match=r"failed on version 1: KeyError\('message'\)"):
        bind_step(greet(1), UTC, source)


@pytest.mark.parametrize("answer", [None, [], "text"])
def test_an_upgrade_that_returns_no_dictionary_is_an_error_too(
    source: Registry, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(Greet, "upgrade_config", lambda self, config, from_version: answer)
    with pytest.raises(ConfigError, match="must return the upgraded dictionary"):
        upgraded_config(greet(1), Greet())


def test_by_default_an_upgrade_changes_nothing() -> None:
    assert BaseAction().upgrade_config({"a": 1}, 1) == {"a": 1}


def test_steps_are_bound_when_they_are_needed_and_once(source: Registry) -> None:
    document = flow(step("gone.away", id="gone"), greet(text="Hi"))
    compiled = compile_flow(document, source)
    assert compiled.bound("a") is compiled.bound("a")
    with pytest.raises(UnknownActionError):
        compiled.bound("gone")


def test_what_is_bound_is_forgotten_when_the_registry_changes(source: Registry) -> None:
    compiled = compile_flow(flow(greet(text="Hi"), step("test.loop", id="l")), source)
    before = compiled.bound("a")
    assert compiled.is_loop("l")
    source.restore(source.snapshot())
    assert compiled.bound("a") is not before
    source.restore(Registry().snapshot())
    with pytest.raises(UnknownActionError):
        compiled.bound("a")
    assert not compiled.is_loop("l")


def test_the_zone_and_the_guard_are_those_of_the_document(source: Registry) -> None:
    compiled = compile_flow(flow(time_zone="Europe/Berlin", guard="n > 1"), source)
    assert compiled.zone == ZoneInfo("Europe/Berlin")
    assert compiled.guard is not None
    assert compiled.guard.source == "n > 1"
    assert str(compile_flow(flow(), source).zone) == "UTC"
    with pytest.raises(ExpressionError):
        compile_flow(flow(guard="n >"), source)


class Computed(forms.Form):
    condition = ExpressionField(required=False)
    text = TemplateField(required=False)
    state = JSONExpressionField(required=False)
    evaluate = forms.BooleanField(required=False)
    plain = forms.CharField(required=False)
    items = forms.JSONField(required=False)


def test_computed_values_arrive_evaluated_and_their_source_can_be_read() -> None:
    bound = bind(
        Computed, {"condition": "n > 1", "text": "{{ n }}!", "plain": "n", "evaluate": False}
    )
    config = at(bound, n=2)
    assert (config.condition, config.text, config.plain) == (True, "2!", "n")
    assert (config.source("condition"), config.source("missing")) == ("n > 1", None)
    assert at(bound, n=0).condition is False
    assert sorted(bound._computed) == ["condition", "text"]


def test_texts_in_json_are_computed_at_any_depth_where_that_is_asked_for() -> None:
    values = {"state": {"a": ["n|add:1", {"b": "'n'"}], "c": 5}, "evaluate": True}
    assert at(bind(Computed, values), n=2).state == {"a": [3, {"b": "n"}], "c": 5}
    plain = bind(Computed, values | {"evaluate": False})
    assert at(plain, n=2).state == values["state"]


def test_an_empty_expression_stands_for_itself() -> None:
    assert at(bind(Computed, {"condition": "", "text": ""})).condition == ""


def test_a_bad_expression_is_an_error_of_binding() -> None:
    with pytest.raises(ExpressionError):
        bind(Computed, {"condition": "n >"})


def test_a_value_is_computed_once_a_call() -> None:
    class Counting:
        calls = 0

        def evaluate(self, scope: Scope) -> int:
            self.calls += 1
            return self.calls

    counting = Counting()
    bound = BoundConfig({"n": "typed"}, {"n": counting})
    config = at(bound)
    assert counting.calls == 0
    assert (config.n, config.n) == (1, 1)
    assert at(bound).n == 2
    unbound: Any = bound
    assert unbound.n == "typed"


def test_what_an_action_changes_in_its_configuration_is_not_seen_by_another_run() -> None:
    bound = bind(Computed, {"items": [1, {"a": 2}]})
    config = at(bound)
    config.items[1]["a"] = 3
    config.items.append(4)
    assert config.items == [1, {"a": 3}, 4]
    assert at(bound).items == [1, {"a": 2}]


@pytest.mark.parametrize("values", [{}, {"items": [1]}])
def test_an_unknown_name_is_an_attribute_error_that_says_so(values: dict[str, Any]) -> None:
    config = at(BoundConfig(values))
    with pytest.raises(AttributeError, match="has no field 'gone'"):
        _ = config.gone
    assert getattr(config, "gone", 5) == 5
    copied: Any = copy.copy(BoundConfig({"a": 1}))
    assert copied.a == 1
    assert repr(BoundConfig({"a": 1})) == "BoundConfig({'a': 1})"


@pytest.mark.django_db
def test_a_chosen_model_object_is_read_anew_for_each_call() -> None:
    class Config(forms.Form):
        one = forms.ModelChoiceField(Customer.objects.all())
        several = forms.ModelMultipleChoiceField(Customer.objects.all())

    customer = Customer.objects.create(name="Ada")
    bound = bind(Config, {"one": customer, "several": Customer.objects.filter(pk=customer.pk)})
    assert [each.name for each in at(bound).several] == ["Ada"]
    Customer.objects.update(name="Eve")
    config = at(bound)
    assert (config.one.name, [each.name for each in config.several]) == ("Eve", ["Eve"])
    assert config.one is config.one
    Customer.objects.all().delete()
    with pytest.raises(ConfigError, match=r"The customer Ada .* does not exist any more"):
        _ = at(bound).one


def test_the_summary_of_an_action_leaves_out_what_is_empty_or_secret() -> None:
    class Mail(Greet):
        secret_fields = ("token",)

        class Config(forms.Form):
            to = forms.CharField(label="To")
            token = forms.CharField()
            note = forms.CharField(required=False)

    config = BoundConfig({"to": "ada@example.com", "token": "s3cret", "note": ""})
    assert Mail().summary(config) == "To: ada@example.com"


def test_has_children_is_short_for_one_branch() -> None:
    class Container(BaseAction):
        has_children = True

    assert Container.branch_names() == ("body",)
    assert Greet.branch_names() == ("then", "else")
    assert BaseAction.branch_names() == ()
