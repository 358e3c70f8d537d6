"""Secrets: documents refer to them by name, and their values are resolved when an action is called.

So nothing that is stored has a value in it, and one that is changed reaches runs that wait.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import MissingSecretError, raise_interruption
from flowcontrol_core.expressions import Scope

#: What an environment variable with a secret begins with.
PREFIX: Final = "FLOWCONTROL_SECRET_"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")

#: Returns the value of a secret by its name; None where it has none.
Ask = Callable[[str], str | None]


def secret_of_site(name: str) -> str | None:
    """Return the value of a secret from the setting SECRETS or the environment, None for none."""
    value = get_settings().SECRETS.get(name)
    return os.environ.get(_variable(name)) if value is None else value


def names_of_site() -> list[str]:
    """Return the names of the secrets that the setting SECRETS and the environment know."""
    in_environment = (
        variable.removeprefix(PREFIX).lower()
        for variable in os.environ
        if variable.startswith(PREFIX)
    )
    listed = {_variable(name) for name in get_settings().SECRETS}
    others = (name for name in in_environment if name and _variable(name) not in listed)
    return sorted({*get_settings().SECRETS, *others})


def resolve(names: Iterable[str], ask: Ask) -> dict[str, str]:
    """Return the values of secrets by name; raises MissingSecretError for the first without one."""
    return {name: _resolved(name, ask) for name in names}


def _resolved(name: str, ask: Ask) -> str:
    try:
        value: Any = ask(name)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
        raise_interruption(error)
        # Its message may contain a secret of the source itself.
        raise MissingSecretError(name, problem=type(error).__name__) from None
    if value is None or value == "":
        raise MissingSecretError(name)
    if not isinstance(value, str):
        raise MissingSecretError(name, problem=type(value).__name__)
    return str(value)


def _variable(name: str) -> str:
    """Return the name of the environment variable of a secret."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The name of a secret in a configuration; its value is that of the present call."""

    name: str

    def evaluate(self, scope: Scope) -> str:
        return scope.secrets[self.name]


class SecretField(forms.ChoiceField):
    """The name of a secret: the action gets its value, as a text.

    Offered are the names of the setting SECRETS and of the environment. One that has no value is
    a problem when the flow is published, and blocks the runs that reach the step until it has one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=_choices, **kwargs)

    def valid_value(self, value: Any) -> bool:
        # Its value may be known to the workers only, or come later; publish checks that.
        return True

    def validate(self, value: Any) -> None:
        super().validate(value)
        if value and not _NAME.fullmatch(value):
            text = _(
                "Choose the name of a secret, not its value: it begins with a letter and has at "
                "most 100 letters, digits, dots, hyphens and underscores."
            )
            raise ValidationError(text, code="secret")

    def compile_value(self, value: Any, cleaned: Any) -> SecretReference | None:
        return SecretReference(value) if value else None


def _choices() -> Iterator[tuple[str, str]]:
    yield "", "---------"
    yield from ((name, name) for name in names_of_site())
