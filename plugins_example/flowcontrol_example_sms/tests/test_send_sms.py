"""The action sends one message for each step, whatever the gateway answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from flowcontrol.registry import registry
from flowcontrol.testing import check_action, flow, run_flow, step
from flowcontrol_example_sms import gateway
from flowcontrol_example_sms.plugin import SendSms

ONE_STEP = flow(step("sms.send", text="Dear {{ object.first_name }}"))


def ada() -> User:
    """Return an object with a name and a phone number; it need not be saved."""
    user = User(first_name="Ada")
    vars(user)["phone"] = "+49 30 1234"
    return user


@pytest.fixture(autouse=True)
def sent() -> Iterator[list[gateway.Message]]:
    """Yield the list of sent messages, empty at first."""
    gateway.sent.clear()
    yield gateway.sent
    gateway.sent.clear()


def refuse_once(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the gateway busy at the first call; return the list of the keys of all calls."""
    keys: list[str] = []
    accept = gateway.send

    def send(phone: str, text: str, *, key: str) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise gateway.Busy
        accept(phone, text, key=key)

    monkeypatch.setattr(gateway, "send", send)
    return keys


def test_action_fulfils_the_contract() -> None:
    check_action(SendSms, {"text": "Dear {{ object.first_name }}"}, {"text": "Grüße"})


def test_action_is_found_through_its_entry_point() -> None:
    entry = registry.get_action("sms.send")
    assert (type(entry.action), entry.distribution) == (SendSms, "flowcontrol-example-sms")


def test_text_arrives_rendered(sent: list[gateway.Message]) -> None:
    run = run_flow(ONE_STEP, ada())
    assert run.outcome == "complete"
    assert [(message.phone, message.text) for message in sent] == [("+49 30 1234", "Dear Ada")]


def test_busy_gateway_is_called_again_after_a_minute(
    monkeypatch: pytest.MonkeyPatch, sent: list[Any]
) -> None:
    keys = refuse_once(monkeypatch)
    run = run_flow(ONE_STEP, ada())
    assert (run.status, sent) == ("waiting", [])
    run.advance(seconds=59)
    assert (run.status, len(keys)) == ("waiting", 1)
    run.advance(seconds=1)
    assert (run.outcome, len(sent)) == ("complete", 1)


def test_both_attempts_have_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = refuse_once(monkeypatch)
    run_flow(ONE_STEP, ada()).advance(minutes=2)
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


def test_every_step_has_a_key_of_its_own(sent: list[gateway.Message]) -> None:
    run_flow(flow(step("sms.send", text="one"), step("sms.send", text="two")), ada())
    assert [message.text for message in sent] == ["one", "two"]


def test_gateway_sends_nothing_twice(sent: list[gateway.Message]) -> None:
    gateway.send("1", "text", key="k")
    gateway.send("1", "text", key="k")
    assert len(sent) == 1


def test_object_without_a_phone_fails_only_its_own_run() -> None:
    run = run_flow(ONE_STEP, User(first_name="Ada"))
    assert run.outcome == "errored"
    assert run.error is not None
    assert "phone" in run.error["message"]
