"""What may be typed into an expression: shown by an editor as completions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Literal

from django.db.models import Field, Model
from django.utils.text import capfirst

from flowcontrol_core.errors import gettext
from flowcontrol_core.expressions.extensions import extensions
from flowcontrol_core.expressions.lookup import parts_of
from flowcontrol_core.expressions.name_checks import parts_of_field, why_not
from flowcontrol_core.expressions.visibility import (
    NAMES_OF_OTHERS,
    NAMES_OF_ROOT,
    Access,
    Names,
    is_secret_key,
)
from flowcontrol_core.redaction import is_secret_field

#: Relations in a row that are followed, and names that are offered of an object.
MOST_RELATIONS, MOST_NAMES = 3, 500

Kind = Literal["name", "filter", "function"]


@dataclass(frozen=True, slots=True)
class Completion:
    """Something that may be typed, and what it is."""

    kind: Kind
    text: str
    detail: str = ""
    #: Why it cannot be used, and what to do about it; empty where it can.
    reason: str = ""
    #: Whether it is only for templates that are HTML.
    html_only: bool = False


def object_completions(model: type[Model]) -> list[Completion]:
    """Return what may be read of the object, those that are hidden with the remedy.

    What is hidden because it is a secret is left out.
    """
    found = _names_of(model, NAMES_OF_ROOT[model], "object", MOST_RELATIONS)
    return [*islice(found, MOST_NAMES)]


def _names_of(model: type[Model], names: Names, path: str, depth: int) -> Iterator[Completion]:
    for name, access in sorted(names.items()):
        yield Completion("name", f"{path}.{name}", _describe(access.field))
        yield from _names_through(f"{path}.{name}", access, depth)
    for field in _hidden_fields(model, names):
        yield _hidden(f"{path}.{field.name}", field)


def _names_through(path: str, access: Access, depth: int) -> Iterator[Completion]:
    """Yield what may be read of the value of a field."""
    field = access.field
    if access.target is not None:
        if depth:
            names = NAMES_OF_OTHERS[access.target]
            yield from _names_of(access.target, names, path, depth - 1)
        return
    for part in sorted(parts_of_field(field) or ()):
        yield Completion("name", f"{path}.{part}")
    if field is not None and field.is_relation and field.related_model and path.count(".") == 1:
        related: type[Model] = field.related_model
        for hidden in _hidden_fields(related, NAMES_OF_OTHERS[related]):
            yield _hidden(f"{path}.{hidden.name}", hidden)


def _hidden_fields(model: type[Model], names: Names) -> Iterator[Field]:  # type: ignore[type-arg]
    for field in model._meta.concrete_fields:
        if field.name not in names and not is_secret_field(field.name) and not is_secret_key(field):
            yield field


def _hidden(path: str, field: Field) -> Completion:  # type: ignore[type-arg]
    words = {"name": field.name, "path": path, "model": field.model._meta.label_lower}
    text = why_not(field.name, field.model)
    return Completion("name", path, _describe(field), reason=text % {**words, "advice": ""})


def _describe(field: Field | None) -> str:  # type: ignore[type-arg]
    """Return the label of a field, and the type of its values."""
    if field is None:
        return ""
    label = capfirst(str(field.verbose_name))
    if field.is_relation and field.related_model:
        text = gettext("%(label)s: one of the %(models)s")
        related: type[Model] = field.related_model
        return text % {"label": label, "models": related._meta.verbose_name_plural}
    return f"{label}: {field.description % field.__dict__}"


def time_completions() -> list[Completion]:
    """Return the parts of the present time."""
    now = Completion("name", "now", gettext("The present time"))
    return [now, *(Completion("name", f"now.{part}") for part in sorted(parts_of(datetime)))]


def named_completions(root: str, names: Collection[str], detail: str) -> list[Completion]:
    """Return keys of the state or of a payload."""
    return [
        Completion("name", f"{root}.{name}" if root else name, detail) for name in sorted(names)
    ]


def extension_completions() -> list[Completion]:
    """Return the filters and functions, each with what it does."""
    found = ((name, extensions.find_filter(name)) for name in extensions.filter_names(html=True))
    filters = [
        Completion("filter", name, str(known.description), html_only=known.html_only)
        for name, known in found
        if known is not None
    ]
    called = ((name, extensions.find_function(name)) for name in extensions.function_names())
    functions = [Completion("function", name, each.description) for name, each in called if each]
    return [*filters, *functions]
