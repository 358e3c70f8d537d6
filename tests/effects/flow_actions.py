"""Found by Flowcontrol in the processes in which the app is installed."""

from __future__ import annotations

from flowcontrol.registry import register_action, registry
from tests.effects.actions import ACTIONS, TRIGGERS
from tests.effects.elsewhere import ELSEWHERE
from tests.effects.sessions import BREAKING

for action in (*ACTIONS, *BREAKING, *ELSEWHERE):
    register_action(action)
for trigger in TRIGGERS:
    registry.add_trigger(trigger, plugin="effects")
