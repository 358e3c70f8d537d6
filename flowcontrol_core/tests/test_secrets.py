"""A secret is a name in the document and a value in the call, and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.test import override_settings

from flowcontrol.base import BaseAction, Effects
from flowcontrol.errors import ExpressionError, MissingSecretError
from flowcontrol.forms import ExpressionField, SecretField, TemplateField
from flowcontrol.testing import MemoryRun, check_action, flow, run_flow, step, temporary_registry
from flowcontrol_core.actions.secrets import names_of_site, resolve
from flowcontrol_core.plugins.manager import plugin_manager
from tests.shop.models import Customer

VALUE = "Zk9-plain_0123456789"


class Call(BaseAction):
    """Does with its secret what the test says."""

    name = "call"
    effects = Effects.NONE
    seen: list[Any] = []

    class Config(forms.Form):
        token = SecretField()
        what = forms.CharField(required=False)
        value = ExpressionField(required=False)

    def run(self, *, run: Any, obj: Any, config: Any) -> Any:
        self.seen.append(config.token)
        authorization = base64.b64encode(f"user:{config.token}".encode()).decode()
        match config.what:
            case "raise":
                raise RuntimeError(f"401 for {config.token!r}, Basic {authorization}")
            case "log":
                run.log(f"sent {config.token}")
            case "state":
                run.state["answer"] = [f"Bearer {config.token}"]
            case "encoded":
                run.state["answer"] = authorization
            case "memo":
                run.memo["token"] = config.token
            case "abort":
                return self.abort(f"refused {config.token}")
            case "value":
                run.state["value"] = config.value
        return None


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[Any]]:
    Call.seen.clear()
    with temporary_registry(Call):
        yield Call.seen


def called(what: str = "", **config: Any) -> MemoryRun:
    document = flow(step("test.call", token="sms", what=what, **config))
    return run_flow(document, secrets={"sms": VALUE})


def everything(run: MemoryRun) -> str:
    return repr((run.state, run.error, run.reason, run.trace, run.stop, run.messages, run.wait))


def test_the_value_arrives_as_a_text(seen: list[Any]) -> None:
    assert called().outcome == "complete"
    assert seen == [VALUE]


@pytest.mark.parametrize("what", ["", "raise", "log", "state", "encoded", "memo", "abort"])
def test_nothing_that_is_kept_of_the_run_has_the_value(what: str) -> None:
    shown = everything(called(what))
    assert VALUE not in shown
    assert base64.b64encode(VALUE.encode()).decode()[:12] not in shown
    assert "user:" not in shown or "•••" in shown


@pytest.mark.parametrize("what", ["state", "encoded", "memo"])
def test_a_step_that_would_store_the_value_fails_and_says_which(what: str) -> None:
    run = called(what)
    assert run.outcome == "errored"
    assert "value of the secret sms cannot be stored" in run.reason
    assert run.state == {}


def test_outside_of_the_call_the_value_is_a_text_like_others() -> None:
    run = run_flow(
        flow(step("test.call", token="sms"), step("builtin.set_state", state={"n": VALUE})),
        secrets={"sms": VALUE},
    )
    assert run.state == {"n": VALUE}


@pytest.mark.parametrize("text", ["secrets.sms", "config.token", "token", "secrets"])
def test_no_expression_sees_a_secret(text: str) -> None:
    try:
        run = called("value", value=text)
    except ExpressionError:
        return
    assert VALUE not in everything(run)
    assert run.state.get("value") is None


class Tell(BaseAction):
    """Sends a text, and logs it."""

    name = "tell"
    effects = Effects.NONE
    sent: list[str] = []

    class Config(forms.Form):
        text = TemplateField()

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        self.sent.append(config.text)
        run.log(f"sent {config.text}")
        if "fail" in run.state:
            raise RuntimeError(f"refused {config.text}")


@pytest.mark.parametrize(
    "text", ["{{ pwd }}", "{{ state.pwd }}", "{{ payload.jwt }}", "{{ state }}", "{{ payload }}"]
)
@pytest.mark.parametrize("fails", [True, False])
def test_expressions_have_the_values_of_the_run_and_nobody_reads_them(
    text: str, fails: bool
) -> None:
    Tell.sent.clear()
    values = {"pwd": VALUE} | ({"fail": True} if fails else {})
    with temporary_registry(Tell):
        document = flow(step("test.tell", text=f"Your code is {text}"))
        run = run_flow(document, state=values, payload={"jwt": VALUE})
    (sent,) = Tell.sent
    assert VALUE in sent
    assert run.outcome == ("errored" if fails else "complete")
    read = repr((run.error, run.reason, run.trace, run.messages))
    assert VALUE not in read
    assert "•••" in read


def test_a_field_with_the_name_of_a_secret_stays_hidden_from_expressions() -> None:
    Tell.sent.clear()
    with temporary_registry(Tell):
        obj = Customer(pk=1, name="Ada", api_token=VALUE)
        run_flow(flow(step("test.tell", text="{{ object.name }} {{ object.api_token }}")), obj)
    assert Tell.sent == ["Ada "]


def test_a_missing_secret_blocks_the_run_before_the_call_and_names_it(seen: list[Any]) -> None:
    run = run_flow(flow(step("test.call", token="sms")), secrets={})
    assert (run.status, run.stop.blocked_on, seen) == ("blocked", "secret:sms", [])
    assert "Step s1 (test.call) needs the secret sms" in run.reason


def test_the_site_knows_secrets_by_its_setting_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLOWCONTROL_SECRET_PLANTED")
    monkeypatch.setenv("FLOWCONTROL_SECRET_SMS_TOKEN", "from the environment")
    monkeypatch.setenv("FLOWCONTROL_SECRET_OTHER", "other")
    settings = {"SECRETS": {"pay": "from the setting", "sms.token": None}}
    with override_settings(FLOWCONTROL=settings):
        assert names_of_site() == ["other", "pay", "sms.token"]
        found = resolve(["pay", "sms.token", "sms_token", "other"], plugin_manager.secret)
        assert list(found.values()) == [
            "from the setting", "from the environment", "from the environment", "other",
        ]  # fmt: skip
        choices: Any = SecretField().choices
        assert [value for value, _label in choices] == ["", "other", "pay", "sms.token"]
        with pytest.raises(MissingSecretError, match="The secret bank has no value here"):
            resolve(["bank"], plugin_manager.secret)


def test_what_a_source_raises_or_returns_is_named_without_its_text() -> None:
    def refuse(name: str) -> str:
        raise OSError(f"vault refused the token {VALUE}")

    with pytest.raises(MissingSecretError, match=r"sms has no value here \(OSError\)") as caught:
        resolve(["sms"], refuse)
    assert caught.value.__cause__ is None
    wrong: Any = lambda name: 3  # noqa: E731
    with pytest.raises(MissingSecretError, match=r"\(int\)"):
        resolve(["sms"], wrong)


@pytest.mark.parametrize("value", ["", "with space", "eyJhbGciOi+J9/==", "x" * 101, "1a"])
def test_a_value_that_is_pasted_is_no_name(value: str) -> None:
    form = Call.Config({"token": value})
    assert not form.is_valid()
    assert value not in str(form.errors) or not value


def test_an_action_with_a_secret_fulfils_the_contract() -> None:
    check_action(Call, {"token": "sms"})


def test_settings_are_shown_without_secrets() -> None:
    from flowcontrol.conf import get_settings

    with override_settings(FLOWCONTROL={"SECRETS": {"sms": VALUE}}):
        assert VALUE not in repr(get_settings())
