"""Found by Flowcontrol in the processes in which the app is installed."""

from __future__ import annotations

from flowcontrol.registry import register_action
from tests.effects.actions import ACTIONS

for action in ACTIONS:
    register_action(action)
