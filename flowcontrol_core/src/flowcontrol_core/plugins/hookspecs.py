"""The hooks of Flowcontrol: all that a plugin can implement.

A plugin is a module that its distribution names in the entry point group ``flowcontrol.plugins``;
the name of the entry point is the first part of the keys of its actions and triggers. It defines
some of the functions below, without parameters and decorated with ``hookimpl``. The module is
imported when Django is set up (``AppConfig.ready``), so it may import models.

This module imports neither Django nor any plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from flowcontrol_core.actions.base import BaseAction
    from flowcontrol_core.actions.trigger import Trigger
    from flowcontrol_core.expressions.filters import ExpressionFilter, ExpressionFunction

PROJECT_NAME: Final = "flowcontrol"

hookspec: Final = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl: Final = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def flowcontrol_actions() -> Iterable[type[BaseAction]]:
    """Return the action classes of the plugin; each gets the key ``<plugin>.<name>``."""
    raise NotImplementedError


@hookspec
def flowcontrol_triggers() -> Iterable[Trigger]:
    """Return the triggers of the plugin; each gets the key ``<plugin>.<name>``."""
    raise NotImplementedError


@hookspec
def flowcontrol_filters() -> Iterable[ExpressionFilter | ExpressionFunction]:
    """Return filters and functions for expressions: ``name|shorten``, ``name|<plugin>.shorten``.

    They have to be pure: the same values give the same result, and nothing else changes. Where two
    plugins have a name, only the long form works; a name of Django's filters is refused.
    """
    raise NotImplementedError


@hookspec
def flowcontrol_ready() -> None:
    """Connect what the plugin listens to, such as Django signals.

    Called once in a process, when the actions and triggers of all plugins are registered. If it
    raises, the plugin is unregistered; connections it has made by then stay, so make them last.
    """
    raise NotImplementedError
