"""The base class of all actions: what a plugin author writes."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext

from flowcontrol_core import bounds
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.context import RunContext
from flowcontrol_core.engine.directives import FlowDirective, Kind, Target
from flowcontrol_core.errors import raise_interruption

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # Its default (PEP 696) is what makes `class SendSms(BaseAction):` valid under mypy --strict.
    ConfigType = TypeVar("ConfigType", default=Any)
else:
    from typing import TypeVar

    ConfigType = TypeVar("ConfigType")


#: What an action answers; ``async def`` is for actions with Effects.EXTERNAL.
Answer = FlowDirective | None | Coroutine[Any, Any, FlowDirective | None]


class Effects(Enum):
    """What an action touches: this decides how it is made safe, and how fast it is.

    NONE touches only the run's state and may be repeated freely. DATABASE writes to the runs'
    database, in one transaction with its checkpoint: exactly once. EXTERNAL reaches the world
    (mail, HTTP): at least once, with the same ``run.idempotency_key`` on every attempt.
    """

    NONE = "none"
    DATABASE = "database"
    EXTERNAL = "external"


def plugin_text(text: object, instead: str = "") -> str:
    """Return a text of a plugin as its reader sees it: ``instead`` where it is empty or raises.

    A translation or a lazy text is the plugin's own code: it must not break a page of all plugins.
    """
    try:
        return str(text) or instead
    except BaseException as error:  # noqa: BLE001  (whatever it raises)
        raise_interruption(error)
        problem = gettext("this text cannot be shown: %(error)s") % {"error": repr(error)}
        return f"{instead} ({problem})".strip()


class BaseAction(Generic[ConfigType]):
    """One thing that a step of a flow can do.

    Subclasses define ``name``, ``effects`` and ``run``; all else has defaults. One instance without
    any state of its own serves all threads of a process.

    For the type checker, ``BaseAction[SmsConfig]`` names a class that declares the attributes of
    the configuration that the action reads; it is never instantiated. Derive it from
    ``BoundConfig`` where ``source()`` is needed. Without a parameter, the configuration is ``Any``.
    """

    #: The second part of the key ``<plugin>.<name>``.
    name: ClassVar[str] = ""
    verbose_name: ClassVar[str | Promise] = ""
    description: ClassVar[str | Promise] = ""
    group: ClassVar[str | Promise] = ""
    #: The picture of its steps in the admin, by name; an unknown name shows a plain one.
    icon: ClassVar[str] = ""
    #: NONE, DATABASE or EXTERNAL: there is no default, registration asks for it.
    effects: ClassVar[Effects]
    #: The names of the branches of sub-steps; ``has_children`` is short for one branch ``body``.
    branches: ClassVar[tuple[str, ...]] = ()
    has_children: ClassVar[bool] = False
    #: What people call the branches; by default their names, as words.
    branch_labels: ClassVar[Mapping[str, str | Promise]] = MappingProxyType({})
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
    #: Earlier keys; flows that refer to them continue to work.
    aliases: ClassVar[tuple[str, ...]] = ()
    #: The longest time in seconds that one call may take; ``None`` for the setting STEP_TIMEOUT.
    timeout: ClassVar[float | None] = None

    def run(self, *, run: RunContext, obj: Any, config: ConfigType) -> Answer:
        """Do it, and return where the run continues (``None``: with the next step).

        ``obj`` is the run's model object or ``None``; ``config`` has the values of the form as
        attributes, expressions and templates evaluated. Raise ``flowcontrol.errors.Retry`` to be
        called again later; any other exception fails the step. With Effects.EXTERNAL it may be
        ``async def``: it is awaited in an event loop of its own, where its time-out is real.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define run().")

    def return_from_children(self, *, run: RunContext, obj: Any, config: ConfigType) -> Answer:
        """Return where to continue at the end of a branch; by default after the step."""
        return FlowDirective.CONTINUE

    def upgrade_config(self, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        """Return a stored configuration of an older ``config_version`` in the present one."""
        return config

    def summary(self, config: ConfigType) -> str:
        """Return a plain sentence that says what the step does with this configuration."""
        # Whatever an author declares of it, the configuration is a BoundConfig.
        source = cast("BoundConfig", config).source
        shown = (
            f"{name if field.label is None else plugin_text(field.label, name)}: {source(name)}"
            for name, field in self.Config.base_fields.items()
            if name not in self.secret_fields and source(name) not in (None, "", [], {})
        )
        return ", ".join(shown)[: bounds.SUMMARY_CHARACTERS]

    def check(self, config: ConfigType) -> Iterable[str]:
        """Return what would fail at run time and is known when the flow is published."""
        return ()

    def needs_loop(self, config: ConfigType) -> bool:
        """Return whether the step answers with ``to="loop"``: publish refuses it outside of one."""
        return False

    def sets_variables(self, config: ConfigType) -> Iterable[str]:
        """Return the state keys that it passes to ``run.set_variable()`` for its sub-steps.

        Publish refuses a step inside of it that has one of them. ``sets_state`` need not name them.
        """
        return ()

    def sets_state(self, config: ConfigType) -> Iterable[str]:
        """Return the keys of the state that the step may set: names that expressions can use.

        At publish, a name that no step sets is shown as a warning.
        """
        return ()

    def waits_for(self, config: ConfigType) -> Iterable[str]:
        """Return the keys of the triggers that the step may wait for: their events are stored."""
        return ()

    def check_memo(self, memo: Mapping[str, Any]) -> Iterable[str]:
        """Return what is wrong with what a step keeps in ``run.memo``, in whole sentences.

        Asked where a run is taken over from elsewhere, with the memo that the step would have by
        then: ``return_from_children`` follows, or ``run``.
        """
        return ()

    def starts_flows(self, config: ConfigType) -> Iterable[str]:
        """Return the keys of the flows that the step starts, for checks and exports."""
        return ()

    @classmethod
    def branch_names(cls) -> tuple[str, ...]:
        """Return the names of the branches, the default one first."""
        return cls.branches or (("body",) if cls.has_children else ())

    @staticmethod
    def enter(branch: str | None = None) -> FlowDirective:
        """Enter a branch; the first one by default."""
        return FlowDirective(Kind.ENTER, branch=branch)

    @staticmethod
    def leave(to: Target = "parent") -> FlowDirective:
        """Return to the parent action, or to the nearest loop."""
        return FlowDirective(Kind.LEAVE, to=to)

    @staticmethod
    def break_(to: Target = "parent") -> FlowDirective:
        """Continue after the parent action, or after the nearest loop."""
        return FlowDirective(Kind.BREAK, to=to)

    @staticmethod
    def abort(reason: str = "") -> FlowDirective:
        """Stop the flow run; the reason is shown with it (at most 1,000 characters)."""
        return FlowDirective(Kind.ABORT, reason=reason[: bounds.REASON_CHARACTERS])
