"""Registering actions and triggers: what is refused, and that the message names the culprits."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from django import forms

from flowcontrol.registry import register_action, register_trigger, registry
from flowcontrol_core.actions.base import BaseAction, Effects
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.actions.trigger import Trigger, connection
from flowcontrol_core.errors import RegistrationError, UnknownActionError, UnknownTriggerError
from tests.cases import each


class Send(BaseAction):
    name = "send"
    effects = Effects.NONE

    def run(self, **_: Any) -> None: ...


class Other(Send): ...


class Renamed(Send):
    name = "deliver"
    aliases = ("sms.send", "old.send")


class WithToken(forms.Form):
    token = forms.CharField()


class WithFile(forms.Form):
    scan = forms.FileField()


def variant(**attributes: Any) -> type[BaseAction]:
    return type("Variant", (Send,), {"Config": WithToken} | attributes)


@pytest.fixture
def fresh() -> Registry:
    return Registry()


def test_an_action_is_found_by_its_key_and_knows_where_it_comes_from(fresh: Registry) -> None:
    entry = fresh.add_action(Send, plugin="sms", distribution="flowcontrol-sms")
    assert fresh.get_action("sms.send") is entry
    assert (entry.key, entry.plugin, type(entry.action)) == ("sms.send", "sms", Send)
    assert entry.origin == f"{__name__}.Send of flowcontrol-sms"
    assert fresh.knows_action("sms.send")
    assert not fresh.knows_action("sms.gone")


def test_a_missing_action_names_the_plugin_to_install(fresh: Registry) -> None:
    with pytest.raises(UnknownActionError, match="Install or enable the plugin 'sms'") as caught:
        fresh.get_action("sms.send")
    assert caught.value.key == "sms.send"


def test_a_renamed_action_is_found_by_its_earlier_keys(fresh: Registry) -> None:
    entry = fresh.add_action(Renamed, plugin="sms")
    assert fresh.get_action("sms.send") is fresh.get_action("old.send") is entry
    assert fresh.knows_action("old.send")
    assert list(fresh.actions) == ["sms.deliver"]


@pytest.mark.parametrize(("first", "second"), [(Send, Other), (Send, Renamed), (Renamed, Send)])
def test_a_key_registered_twice_names_both_culprits(
    fresh: Registry, first: type[BaseAction], second: type[BaseAction]
) -> None:
    fresh.add_action(first, plugin="sms", distribution="one")
    generation = fresh.generation
    with pytest.raises(RegistrationError) as caught:
        fresh.add_action(second, plugin="sms", distribution="two")
    message = str(caught.value)
    assert "'sms.send' is registered twice" in message
    assert f"{__name__}.{first.__name__} of one" in message
    assert f"{__name__}.{second.__name__} of two" in message
    assert (len(fresh.actions), fresh.generation) == (1, generation)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": ""}, "has no name: set `name`"),
        ({"name": "Send"}, "'sms.Send' is not a valid key for"),
        ({"name": "x" * 200}, "at most 150 characters"),
        ({"effects": None}, "does not declare its effects: set `effects` to Effects.NONE"),
        ({"run": BaseAction.run}, "does not define run()"),
        ({"Config": dict}, "Config must be a Django form class"),
        ({"branches": ("Then",)}, "has a branch 'Then'"),
        ({"branches": ("then")}, "branches is a text, not a tuple: write `branches = ('then',)`"),
        ({"aliases": "old.send"}, "aliases is a text, not a tuple"),
        ({"secret_fields": "token"}, "secret_fields is a text, not a tuple"),
        ({"aliases": ("old",)}, "'old' is not a valid key for"),
        (
            {"secret_fields": ("tokn",)},
            "'tokn', which is not a field of Config. Did you mean “token”?",
        ),
        ({"object_type": "shop.ordr"}, "'shop.ordr', which is not an installed model"),
        ({"object_type": "order"}, "'order', which is not an installed model"),
        ({"permission": "change_order"}, 'such as "shop.change_order"'),
        ({"permission": "nowhere.change_order"}, "write the label of an installed app"),
        ({"config_version": 0}, "config_version is 0: use 1, 2 and so on"),
        ({"config_version": 2}, "define upgrade_config()"),
        (
            {"run": lambda self, run, obj: None},
            "run() is called with the keywords run, obj and config",
        ),
        ({"return_from_children": lambda self: None}, "return_from_children() is called with"),
        ({"Config": WithFile}, "a field 'scan' for a file, which a document cannot store"),
    ],
)
def test_an_action_that_could_not_work_is_refused_with_what_to_do(
    fresh: Registry, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegistrationError, match=re.escape(message)) as caught:
        fresh.add_action(variant(**attributes), plugin="sms")
    assert f"{__name__}.Variant" in str(caught.value)
    assert (dict(fresh.actions), fresh.knows_action("old.send")) == ({}, False)


@pytest.mark.parametrize("name", ["source", "at", "_hidden"])
def test_a_field_that_an_action_could_not_read_is_refused(fresh: Registry, name: str) -> None:
    form = type("Config", (forms.Form,), {name: forms.CharField()})
    with pytest.raises(RegistrationError, match=f"has a field '{name}'"):
        fresh.add_action(variant(Config=form), plugin="sms")


@pytest.mark.parametrize("thing", [object(), dict, Send(), None])
def test_what_is_not_an_action_is_refused(fresh: Registry, thing: Any) -> None:
    with pytest.raises(RegistrationError, match="is not an action: derive it from BaseAction"):
        fresh.add_action(thing, plugin="sms")


def test_a_trigger_is_found_by_its_key(fresh: Registry) -> None:
    trigger = Trigger(name="order.paid", label="Order paid")
    entry = fresh.add_trigger(trigger, plugin="shop")
    assert (trigger.key, entry.key) == ("shop.order.paid", "shop.order.paid")
    assert fresh.get_trigger("shop.order.paid") is trigger
    # The same once more, as when a module is imported under two names.
    fresh.add_trigger(trigger, plugin="shop")
    with pytest.raises(UnknownTriggerError, match=r"'shop\.gone' is registered\. Register it with"):
        fresh.get_trigger("shop.gone")


def test_a_trigger_of_a_model_that_does_not_exist_is_refused(fresh: Registry) -> None:
    with pytest.raises(RegistrationError, match=r"'shop\.ordr', which is not an installed model"):
        fresh.add_trigger(Trigger(name="paid", label="Paid", model="shop.ordr"), plugin="shop")


def test_a_trigger_key_registered_twice_names_both_culprits(fresh: Registry) -> None:
    fresh.add_trigger(Trigger(name="paid", label="Order paid"), plugin="shop")
    with pytest.raises(RegistrationError) as caught:
        fresh.add_trigger(
            Trigger(name="paid", label="Invoice paid"), plugin="shop", distribution="flow-shop"
        )
    assert "'Order paid' of the app 'shop'" in str(caught.value)
    assert "'Invoice paid' of flow-shop" in str(caught.value)


@each("key", ["paid", "Shop.paid", "shop.", "shop.Paid", ".paid"])
def test_a_malformed_trigger_key_is_refused(key: str) -> None:
    with (
        registry.temporary(),
        pytest.raises(RegistrationError, match="is not a valid key for the trigger"),
    ):
        register_trigger(key)


def test_what_is_not_a_trigger_is_refused(fresh: Registry) -> None:
    thing: Any = Trigger
    with pytest.raises(RegistrationError, match=r"plugin 'shop' offers .* as a trigger"):
        fresh.add_trigger(thing, plugin="shop")


def test_a_temporary_registration_is_taken_back_whatever_happens() -> None:
    before = dict(registry.actions), dict(registry.triggers), registry.generation
    trigger = Trigger(name="paid", label="Paid")
    with suppress(ZeroDivisionError), registry.temporary(Send, triggers=[trigger]) as inside:
        assert inside.knows_action("test.send")
        assert inside.get_trigger("test.paid") is trigger
        raise ZeroDivisionError
    assert (dict(registry.actions), dict(registry.triggers)) == before[:2]
    # What was compiled in between is compiled anew.
    assert registry.generation > before[2]


def test_a_failed_temporary_registration_leaves_nothing() -> None:
    before = dict(registry.actions)
    with pytest.raises(RegistrationError), registry.temporary(Send, Other):
        pass
    assert dict(registry.actions) == before


def test_only_a_snapshot_can_be_restored(fresh: Registry) -> None:
    with pytest.raises(TypeError, match="takes what snapshot"):
        fresh.restore({})


def test_what_is_registered_cannot_be_changed_from_outside(fresh: Registry) -> None:
    actions: Any = fresh.actions
    with pytest.raises(TypeError):
        actions["a.b"] = 1


def test_a_projects_own_action_has_the_label_of_its_app_in_its_key() -> None:
    class Ship(Send):
        name = "ship"

    Ship.__module__ = "tests.shop.flow_actions"
    with registry.temporary():
        assert register_action(Ship) is Ship
        assert registry.get_action("shop.ship").plugin == "shop"


def test_an_action_of_no_app_is_refused_with_what_to_do() -> None:
    class Lost(Send):
        name = "lost"

    Lost.__module__ = "nowhere.at_all"
    with pytest.raises(RegistrationError, match="belongs to no installed app"):
        register_action(Lost)


def test_a_trigger_of_a_project_fires_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    fired: list[Any] = []

    class Receiver:
        def fire(self, trigger: Trigger, obj: Any, payload: Any, unique_key: str) -> None:
            fired.append((trigger.key, obj, payload, unique_key))

        def is_listened_to(self, key: str) -> bool:
            return key == "shop.order_paid"

    monkeypatch.setattr(connection, "receiver", Receiver())
    with registry.temporary():
        paid = register_trigger("shop.order_paid", model="shop.order", payload={"amount": "Paid"})
        paid(None, {"amount": 1}, unique_key="7")
        paid.fire()
    assert (paid.label, paid.model) == ("order paid", "shop.order")
    assert fired == [
        ("shop.order_paid", None, {"amount": 1}, "7"),
        ("shop.order_paid", None, None, ""),
    ]
    assert paid.is_listened_to()


def test_before_the_site_has_started_no_trigger_is_listened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "receiver", None)
    trigger = Trigger(name="paid", label="Paid")
    trigger.fire(None, {})
    assert not trigger.is_listened_to()
