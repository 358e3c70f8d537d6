"""Rows of the project that published flows name in the configurations of their steps.

Such a row cannot be deleted: Django's ``ProtectedError`` says which flows name it. Otherwise their
runs would be blocked, some day, at a step that no one has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.db.models.deletion import ProtectedError
from django.db.models.signals import pre_delete
from django.utils.translation import gettext

from flowcontrol_core.actions.config import upgraded_config
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.actions.storage import store
from flowcontrol_core.document.format import parse
from flowcontrol_core.document.tree import Step
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import Flow, FlowVersion


@dataclass(frozen=True, slots=True)
class RowReference:
    """A step of a published flow that names a row, in a field of its configuration."""

    flow: str
    step: str
    field: str

    def __str__(self) -> str:
        text = gettext("flow “%(flow)s”, step %(step)s (%(field)s)")
        return text % {"flow": self.flow, "step": self.step, "field": self.field}


@dataclass(frozen=True, slots=True)
class _ChosenRow:
    """What was chosen in a field of a step that offers the rows of a model."""

    step: str
    name: str
    field: Any
    stored: Sequence[Any]

    def names(self, obj: Model) -> bool:
        """Return whether it is this row, or one of those chosen."""
        is_offered = isinstance(obj, self.field.queryset.model)
        return is_offered and any(_is_named(self.field, obj, stored) for stored in self.stored)


def connect() -> None:
    """Protect the rows that the forms of the registered actions offer.

    By model, as a listener for all of them would slow down each deletion in the project.
    """
    for entry in registry.actions.values():
        for _name, field in _choice_fields(entry.action.Config):
            pre_delete.connect(
                _refuse, sender=field.queryset.model, dispatch_uid="flowcontrol_core.references"
            )


def find_references(obj: Model) -> list[RowReference]:
    """Return the steps of published flows that name a row of the project."""
    published = Flow.objects.filter(published__isnull=False).order_by("key")
    digests = list(published.values_list("key", "published__digest"))
    choices = _choices_by_digest({digest for _key, digest in digests})
    return [
        RowReference(key, choice.step, choice.name)
        for key, digest in digests
        for choice in choices[digest]
        if choice.names(obj)
    ]


def _choices_by_digest(digests: set[str]) -> Mapping[str, Sequence[_ChosenRow]]:
    """Return what was chosen in documents, each read once: many rows may be deleted at once."""
    keys = {digest: (digest, registry.generation) for digest in digests}
    if len(_known) > _MOST:
        _known.clear()
    if missing := [digest for digest, key in keys.items() if key not in _known]:
        versions = FlowVersion.objects.filter(digest__in=missing)
        for digest, data in versions.values_list("digest", "document"):
            _known[keys[digest]] = tuple(_choices(data))
    return {digest: _known.get(key, ()) for digest, key in keys.items()}


_MOST = 2_000
#: By the digest of the document, and by what is registered.
_known: dict[tuple[str, int], Sequence[_ChosenRow]] = {}


def _refuse(*, instance: Model, **_: Any) -> None:
    """Raise ProtectedError for a row that a published flow names."""
    if references := find_references(instance):
        text = gettext(
            "%(object)s cannot be deleted, because published flows name it: %(references)s. Choose "
            "another one there, and publish them."
        )
        named = "; ".join(map(str, references))
        flows = Flow.objects.filter(key__in={reference.flow for reference in references})
        message = text % {"object": instance, "references": named}
        raise ProtectedError(message, set(flows))


def _choices(data: Any) -> Iterator[_ChosenRow]:
    try:
        document = parse(data)
    except FlowcontrolError:
        return
    for visit in document.index.values():
        if not any(around.step.disabled for around in visit.lineage):
            yield from _choices_of(visit.step)


def _choices_of(step: Step) -> Iterator[_ChosenRow]:
    try:
        action = registry.get_action(step.action).action
        config: Mapping[str, Any] = upgraded_config(step, action)
    except FlowcontrolError:
        return
    for name, field in _choice_fields(action.Config):
        if (stored := config.get(name)) is not None:
            is_many = isinstance(field, forms.ModelMultipleChoiceField)
            items = stored if is_many and isinstance(stored, list) else [stored]
            yield _ChosenRow(step.id, name, _single(field), items)


#: What fields raise for values that are none of theirs.
_NO_KEY = (ArithmeticError, TypeError, ValidationError, ValueError)


def _is_named(field: Any, obj: Model, stored: Any) -> bool:
    """Return whether a stored value is the key of a row, as the database would compare it.

    An author may have written the key in another way than the form stores it: ``4`` for ``"4"``.
    """
    if isinstance(stored, list):
        own = store(field, obj)
        return isinstance(own, list) and [*map(str, own)] == [*map(str, stored)]
    meta, name = field.queryset.model._meta, field.to_field_name or "pk"
    column = meta.pk if name == "pk" else meta.get_field(name)
    try:
        return bool(column.to_python(stored) == column.to_python(obj.serializable_value(name)))
    except _NO_KEY:
        return False


def _single(field: Any) -> Any:
    """Return a field by which one row is stored, also for a field of several."""
    return forms.ModelChoiceField(field.queryset, to_field_name=field.to_field_name)


def _choice_fields(form: type[forms.Form]) -> Iterator[tuple[str, Any]]:
    for name, field in form.base_fields.items():
        if isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
            yield name, field
