"""The plugin as a whole: its keys, and what every action owes to those who read the editor."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise

from flowcontrol.base import BaseAction
from flowcontrol.registry import Trigger, registry
from flowcontrol.testing import check_action, temporary_registry
from flowcontrol_actions_builtin.plugin import flowcontrol_actions
from tests.cases import each

KEYS = {
    "builtin.if",
    "builtin.while",
    "builtin.for",
    "builtin.return_to_action",
    "builtin.leave_branch",
    "builtin.stop_flow",
    "builtin.set_state",
    "builtin.update_state",
    "builtin.start_flow",
    "builtin.delay",
    "builtin.wait_for_trigger",
    "builtin.send_email",
}
each_action = each("action", flowcontrol_actions())


def test_the_plugin_is_found_and_registers_its_actions() -> None:
    found = {key for key, entry in registry.actions.items() if entry.plugin == "builtin"}
    assert found == KEYS


@each_action
def test_every_action_is_named_described_and_grouped_in_the_readers_language(
    action: type[BaseAction],
) -> None:
    for text in (action.verbose_name, action.description, action.group):
        assert isinstance(text, Promise)
        assert str(text)


@each_action
def test_every_field_has_a_label_in_the_readers_language(action: type[BaseAction]) -> None:
    assert issubclass(action.Config, forms.Form)
    for name, field in action.Config.base_fields.items():
        assert isinstance(field.label, Promise), name


@each_action
def test_a_new_form_shows_no_errors(action: type[BaseAction]) -> None:
    assert action.Config().errors == {}


EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "if": [{"condition": "object.total > 100 and not state.reminded"}],
    "while": [{"condition": "tries < 3"}],
    "for": [{"start": "0", "end": "state.n", "step": "-1", "variable": "i"}],
    "return_to_action": [{}, {"to": "loop", "condition": "n > 2"}],
    "leave_branch": [{}, {"to": "loop", "condition": "n > 2"}],
    "stop_flow": [{}, {"condition": "n > 2", "reason": "{{ n }} is enough"}],
    "set_state": [{}, {"state": '{"a": [1, "n|add:1"]}', "evaluate": "on"}],
    "update_state": [{"state": '{"price": 1.5, "text": "plain text"}'}],
    "start_flow": [
        {"flow": "other", "when": "delay", "delay": "2", "initial_state": '{"a": 1}'},
        {"flow": "other", "when": "at", "date": "now", "wait": "on", "on_refused": "fail"},
    ],
    "delay": [
        {"mode": "for", "amount": "2", "unit": "months"},
        {"mode": "weekday", "weekday": "0", "time_of_day": "09:30"},
        {"mode": "date", "base": "object.due", "amount": "-3", "if_past": "abort"},
    ],
    "wait_for_trigger": [{"trigger": "test.paid", "at_most": "3", "match": "any"}],
    "send_email": [
        {"to": "{{ object.email }}", "subject": "Hello", "text": "One\nTwo", "html": "<b>One</b>"},
        {"to_groups": ["managers", "admins"], "subject": "Hello", "text": "A text"},
    ],
}


@each_action
def test_every_action_keeps_the_contract_of_actions(action: type[BaseAction]) -> None:
    with temporary_registry(triggers=[Trigger(name="paid", label="Order paid")]):
        check_action(action, *EXAMPLES[action.name])
