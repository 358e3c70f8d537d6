"""The base class of all actions: what a plugin author writes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, ClassVar

from django import forms
from django.utils.functional import Promise

from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.engine.directives import FlowDirective, Kind, Target


class Effects(Enum):
    """What an action touches: this decides how it is made safe, and how fast it is.

    NONE touches only the run's state and may be repeated freely. DATABASE writes to the runs'
    database, in one transaction with its checkpoint: exactly once. EXTERNAL reaches the world
    (mail, HTTP): at least once, with the same ``run.idempotency_key`` on every attempt.
    """

    NONE = "none"
    DATABASE = "database"
    EXTERNAL = "external"


class BaseAction:
    """One thing that a step of a flow can do.

    Subclasses say ``name``, ``effects`` and ``run``; all else has defaults. One instance without
    any state of its own serves all threads of a process.
    """

    #: The second part of the key ``<plugin>.<name>``.
    name: ClassVar[str] = ""
    verbose_name: ClassVar[str | Promise] = ""
    description: ClassVar[str | Promise] = ""
    group: ClassVar[str | Promise] = ""
    #: NONE, DATABASE or EXTERNAL: there is no default, registration asks for it.
    effects: ClassVar[Effects]
    #: The names of the branches of sub-steps; ``has_children`` is short for one branch ``body``.
    branches: ClassVar[tuple[str, ...]] = ()
    has_children: ClassVar[bool] = False
    #: Whether LEAVE and BREAK with ``to="loop"`` find their target here.
    is_loop: ClassVar[bool] = False
    #: The form of the configuration; its cleaned values are stored.
    Config: ClassVar[type[forms.Form]] = forms.Form
    config_version: ClassVar[int] = 1
    #: The only model (``app_label.model``) of the objects it works on; empty for any or none.
    object_type: ClassVar[str] = ""
    #: The permission (``app_label.codename``) an author needs to place it.
    permission: ClassVar[str] = ""
    #: Fields of the configuration that are neither shown in history nor exported.
    secret_fields: ClassVar[tuple[str, ...]] = ()
    #: Earlier keys; flows that refer to them go on working.
    aliases: ClassVar[tuple[str, ...]] = ()
    #: The longest time in seconds that one call may take; ``None`` for the setting STEP_TIMEOUT.
    timeout: ClassVar[float | None] = None

    def run(self, *, run: RunContext, obj: Any, config: Any) -> FlowDirective | None:
        """Do it, and say where the run goes next (``None``: to the next step).

        ``obj`` is the run's model object or ``None``; ``config`` has the values of the form as
        attributes, expressions and templates evaluated. Raise ``flowcontrol.errors.Retry`` to be
        called again later; any other exception fails the step.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define run().")

    def return_from_children(
        self, *, run: RunContext, obj: Any, config: Any
    ) -> FlowDirective | None:
        """Say where to go when the end of a branch was reached; by default behind the step."""
        return FlowDirective.CONTINUE

    def upgrade_config(self, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        """Turn a stored configuration of an older ``config_version`` into one of the present."""
        return config

    def summary(self, config: BoundConfig) -> str:
        """Say in a plain sentence what the step does with this configuration."""
        shown = (
            f"{field.label or name}: {config.source(name)}"
            for name, field in self.Config.base_fields.items()
            if name not in self.secret_fields and config.source(name) not in (None, "", [], {})
        )
        return ", ".join(shown)[:200]

    def check(self, config: BoundConfig) -> Iterable[str]:
        """Name what would fail at run time and can be known when the flow is published."""
        return ()

    def needs_loop(self, config: BoundConfig) -> bool:
        """Say whether the step answers with ``to="loop"``: publish refuses it outside of one."""
        return False

    def waits_for(self, config: BoundConfig) -> Iterable[str]:
        """Name the keys of the triggers that the step may wait for, so their events are kept."""
        return ()

    def starts_flows(self, config: BoundConfig) -> Iterable[str]:
        """Name the keys of the flows that the step starts, for checks and exports."""
        return ()

    @classmethod
    def branch_names(cls) -> tuple[str, ...]:
        """Give the names of the branches, the default one first."""
        return cls.branches or (("body",) if cls.has_children else ())

    @staticmethod
    def enter(branch: str | None = None) -> FlowDirective:
        """Go into a branch; the first one by default."""
        return FlowDirective(Kind.ENTER, branch=branch)

    @staticmethod
    def leave(to: Target = "parent") -> FlowDirective:
        """Return to the parent action, or to the nearest loop."""
        return FlowDirective(Kind.LEAVE, to=to)

    @staticmethod
    def break_(to: Target = "parent") -> FlowDirective:
        """Go on behind the parent action, or behind the nearest loop."""
        return FlowDirective(Kind.BREAK, to=to)

    @staticmethod
    def abort(reason: str = "") -> FlowDirective:
        """Stop the flow run; the reason is shown with it (at most 1,000 characters)."""
        return FlowDirective(Kind.ABORT, reason=reason[:1000])
