"""The errors of the framework: each message says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


class Translations:
    """The seam to Django's translations; ``document`` and ``engine`` know no framework.

    The app sets Django's functions when the site starts; until then texts are English.
    """

    gettext: Callable[[str], str] = staticmethod(str)
    ngettext: Callable[[str, str, int], str] = staticmethod(
        lambda one, many, n: one if n == 1 else many
    )


translations = Translations()


def gettext(message: str) -> str:
    """Return a text in the language of the reader."""
    return translations.gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """Return the form of a text that fits a number, in the language of the reader."""
    return translations.ngettext(singular, plural, number)


#: What asks a process or a task to stop, and is not the fault of the code that it is raised in.
#: All else that the code of projects and plugins raises is its own fault, ``SystemExit`` too.
interruptions: set[type[BaseException]] = {KeyboardInterrupt}


def raise_interruption(error: BaseException) -> None:
    """Raise on what is not the fault of foreign code: an interruption, whatever was made of it."""
    if isinstance(error, GeneratorExit):
        raise error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, tuple(interruptions)):
            raise cause
        cause = cause.__cause__ or cause.__context__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, the outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


class FlowcontrolError(Exception):
    """The base class: catching it catches all that the framework raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a flow's document: where, what, and what to do.

    ``path`` addresses the place in the document (``steps[0].branches.then[1].config.text``);
    ``step`` is the id of the step it belongs to, empty for the document itself.
    """

    path: str
    message: str
    step: str = ""
    field: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class DocumentError(FlowcontrolError):
    """The document of a flow is not valid; ``problems`` lists every place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class PublishError(DocumentError):
    """The draft cannot be published: it would fail at run time."""


class EditError(FlowcontrolError):
    """An editing operation is not possible, such as moving a step into itself."""


class NotPermittedError(EditError):
    """The author of an edit lacks the permission that it asks for; nothing was written."""


class StaleRevisionError(FlowcontrolError):
    """Another author changed the draft since it was read; nothing was written."""


class ExpressionError(FlowcontrolError):
    """An expression or a text template cannot be compiled or evaluated.

    ``position`` and ``length`` mark the place in ``source`` (characters, from 0).
    """

    def __init__(
        self, message: str, *, source: str = "", position: int = 0, length: int = 0
    ) -> None:
        self.message = message
        self.source = source
        self.position = position
        self.length = length
        super().__init__(message)


class UnknownFilterError(ExpressionError):
    """An expression uses a filter or function that is not there: its plugin is missing.

    ``key`` is ``|name`` for a filter and ``name()`` for a function.
    """

    def __init__(self, message: str, *, key: str, **place: Any) -> None:
        self.key = key
        super().__init__(message, **place)


class StateError(FlowcontrolError):
    """A value cannot be stored in a run's state: it is not JSON, too large or too deep."""


class ConfigError(FlowcontrolError):
    """The stored configuration of a step no longer validates; ``errors`` is by field."""

    def __init__(self, message: str, errors: dict[str, list[str]] | None = None) -> None:
        self.errors = errors or {}
        super().__init__(message)


class EffectsError(FlowcontrolError):
    """An action did what its declared effects do not allow, such as a write under NONE."""


class StepTimeoutError(FlowcontrolError, TimeoutError):
    """A call of an action took longer than the time-out of its step; its answer is discarded."""


class DirectiveError(FlowcontrolError):
    """An action answered with a directive that is not possible at its place."""


class RegistrationError(FlowcontrolError):
    """An action, trigger or plugin cannot be registered; the message names the culprits."""


class UnknownActionError(FlowcontrolError):
    """No action is registered under the key; its plugin is missing, disabled or failed."""

    def __init__(self, key: str) -> None:
        self.key = key
        text = gettext(
            "The action %(key)r is not registered. Install or enable the plugin %(plugin)r "
            "(see `manage.py flowcontrol plugins`)."
        )
        super().__init__(text % {"key": key, "plugin": key.partition(".")[0]})


class UnknownTriggerError(FlowcontrolError):
    """No trigger is registered under the key."""

    def __init__(self, key: str) -> None:
        self.key = key
        text = gettext(
            "No trigger %(key)r is registered. Register it with register_trigger(), or install "
            "the plugin it belongs to."
        )
        super().__init__(text % {"key": key})


class UnknownZoneError(FlowcontrolError):
    """The machine does not know a time zone, or no longer does."""

    def __init__(self, name: str) -> None:
        self.name = name
        text = gettext(
            "The time zone %(zone)s is not known on this machine. Install its data "
            "(`pip install tzdata`, or on Debian the package tzdata-legacy), or choose another one."
        )
        super().__init__(text % {"zone": name})


class MissingSecretError(FlowcontrolError):
    """A secret that a step names has no value here; ``name`` is its name."""

    def __init__(self, name: str, *, problem: str = "") -> None:
        self.name = name
        text = gettext(
            "The secret %(name)s has no value here%(problem)s. Set it in the setting SECRETS or in "
            "the environment, or have a plugin return it."
        )
        super().__init__(text % {"name": name, "problem": f" ({problem})" if problem else ""})


class UnmigratedError(FlowcontrolError):
    """Migrations of an app are not applied, so its tables are not as its code needs them.

    ``app`` is its label, ``migrations`` are their names, and ``command`` applies them.
    """

    def __init__(self, app: str, migrations: str, command: str) -> None:
        self.app = app
        self.migrations = migrations
        self.command = command
        text = gettext(
            "The migrations of the app %(app)s are not applied (%(migrations)s). Run `%(command)s`."
        )
        super().__init__(text % {"app": app, "migrations": migrations, "command": command})


class UnknownFlowError(FlowcontrolError):
    """No flow has that key."""


class NotStartedError(FlowcontrolError):
    """A run was not started; ``reason`` says why (``inactive``, ``unpublished``, ...)."""

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class IllegalChangeError(FlowcontrolError):
    """An operator action is not possible for a run as it stands; nothing was changed.

    ``code`` (``not_possible``, ``useless``, or empty) and ``values`` say why, for code.
    """

    def __init__(
        self, message: str, *, code: str = "", values: Mapping[str, str] | None = None
    ) -> None:
        self.code = code
        self.values = values or {}
        super().__init__(message)


class UnknownRunError(IllegalChangeError):
    """No run has that primary key or UUID."""

    def __init__(self, run: object) -> None:
        super().__init__(gettext("There is no run %(run)s.") % {"run": run})


class Retry(FlowcontrolError):
    """Raised by an action to be called again later.

    ``after`` is a number of seconds or a timedelta; without it, the backoff of the step's retry
    policy decides.
    """

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        super().__init__(message or gettext("The action asked to be called again."))
