"""The plugin as a whole: its keys, and what every action owes to those who read the editor."""

from __future__ import annotations

import pytest
from django import forms
from django.utils.functional import Promise

from flowcontrol.base import BaseAction
from flowcontrol.registry import registry
from flowcontrol_actions_builtin.plugin import flowcontrol_actions

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
each_action = pytest.mark.parametrize(
    "action", flowcontrol_actions(), ids=lambda action: action.name
)


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
