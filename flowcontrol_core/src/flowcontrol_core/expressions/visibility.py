"""What expressions may see of model objects: one table of names a model, built when first needed.

The object an expression starts from shows its concrete fields, or, where the project lists its
model in ``FLOWCONTROL["EXPRESSION_FIELDS"]``, exactly the listed names. Any other object shows
the listed names too, and only its key where its model is not listed. Names of secrets are hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from inspect import getattr_static, isroutine
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

from django.core.exceptions import ObjectDoesNotExist
from django.core.signals import setting_changed
from django.db import models
from django.db.models import Field, ForeignKey, Model
from django.db.models.fields.files import FieldFile
from django.utils.functional import LazyObject, Promise, empty
from django.utils.functional import cached_property as django_cached_property

from flowcontrol_core.conf import get_settings
from flowcontrol_core.redaction import is_secret_field

#: What does something when it is read, or leads to everything: never handed out.
_LIVING = (models.QuerySet, models.Manager, Iterator, ModuleType)
_COMPUTED = (property, cached_property, django_cached_property)
_MISSING = object()

Getter = Callable[[Any], Any]


class Access(NamedTuple):
    """One visible name of a model, and how to read it.

    ``final`` reads the value where a path ends, ``through`` the one it continues from.
    ``target`` is the model a forward relation leads to, if that one is listed.
    """

    final: Getter
    through: Getter
    field: Field[Any, Any] | None = None
    target: type[Model] | None = None


Names = Mapping[str, Access]


class Tables(dict[type, Names]):
    """The tables of names by class, each made when it is first needed; empty for no model."""

    def __init__(self, *, is_root: bool) -> None:
        super().__init__()
        self._is_root = is_root

    def __missing__(self, kind: type) -> Names:
        is_model = issubclass(kind, Model)
        self[kind] = dict(_accesses(kind, is_root=self._is_root)) if is_model else {}
        return self[kind]


#: What is visible of the object an expression starts from.
NAMES_OF_ROOT = Tables(is_root=True)
#: What is visible of an object that is reached in any other way.
NAMES_OF_OTHERS = Tables(is_root=False)


def unwrap(value: Any) -> Any:
    """Return the object inside of a lazy one, such as ``request.user``; others as they are.

    Django has no public way to ask a lazy object for the object itself: ``_wrapped`` is either the
    marker ``empty`` or that object, and ``_setup()`` loads it.
    """
    if not isinstance(value, LazyObject):
        return value
    if value.__dict__.get("_wrapped", empty) is empty:
        value._setup()  # noqa: SLF001
    return value.__dict__["_wrapped"]


def listed_names(model: type[Model]) -> list[str] | None:
    """Return the names the project lists for a model or what it is a proxy of, None if none."""
    listing = _listing()
    labels = (each._meta.label_lower for each in (model, model._meta.concrete_model or model))
    return next((listing[label] for label in labels if label in listing), None)


def has_name(model: type[Model], name: str) -> bool:
    """Return whether a model has what the project lists.

    What only its objects have, set by ``__init__``, is known where the class annotates it.
    """
    annotated = (vars(each).get("__annotations__", {}) for each in model.__mro__)
    is_attribute = getattr_static(model, name, _MISSING) is not _MISSING
    return is_attribute or any(name in names for names in annotated)


def names_to_list(model: type[Model]) -> list[str]:
    """Return the names of a model that are worth listing: its fields, properties and methods."""
    fields = [name for each in model._meta.concrete_fields for name in (each.name, each.attname)]
    computed = (
        name for name in dir(model) if isinstance(getattr_static(model, name, None), _COMPUTED)
    )
    names = dict.fromkeys([*fields, *computed, *_allowed_methods(model)])
    return [name for name in names if not is_secret_field(name) and not name.startswith("_")]


def _listing() -> dict[str, list[str]]:
    return {label.lower(): list(names) for label, names in get_settings().EXPRESSION_FIELDS.items()}


def _accesses(model: type[Model], *, is_root: bool) -> Iterator[tuple[str, Access]]:
    fields = {
        field.name: dict(_names_of_field(field))
        for field in model._meta.concrete_fields
        if not is_secret_field(field.name)
    }
    yield from _key_accesses(model)
    listed = listed_names(model)
    if listed is None:
        if is_root:
            yield from _default_accesses(model, fields)
        return
    for name in listed:
        if not is_secret_field(name) and not name.startswith("_"):
            yield from _listed_accesses(model, name, fields)


def _key_accesses(model: type[Model]) -> Iterator[tuple[str, Access]]:
    """Yield the primary key: always visible, unless it is itself a secret, as a session's is."""
    if any(map(is_secret_key, model._meta.pk_fields)):
        return
    key = model._meta.pk
    access = Access(attrgetter("pk"), attrgetter("pk"), field=key)
    yield "pk", access
    if key.attname == "id":
        yield "id", access


def is_secret_key(field: Field[Any, Any]) -> bool:
    """Return whether a key's values are secrets: a number called ``key`` is not, a text is."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return is_secret_field(field.name) and not isinstance(field, models.IntegerField)


def _default_accesses(
    model: type[Model], fields: dict[str, dict[str, Access]]
) -> Iterator[tuple[str, Access]]:
    listing = _listing()
    for field in model._meta.concrete_fields:
        # A child or a proxy does not show what the listing of its parent leaves out.
        owner = listing.get(field.model._meta.label_lower)
        for name, access in fields.get(field.name, {}).items():
            if owner is None or field.name in owner or name in owner:
                yield name, access
    for name in _allowed_methods(model):
        yield name, _computed_access(model, name)


def _listed_accesses(
    model: type[Model], name: str, fields: dict[str, dict[str, Access]]
) -> Iterator[tuple[str, Access]]:
    by_name = {name: access for names in fields.values() for name, access in names.items()}
    if name in fields:
        yield from fields[name].items()
    elif name in by_name:
        yield name, by_name[name]
    elif name in _allowed_methods(model) or _is_plain(getattr_static(model, name, _MISSING)):
        yield name, _computed_access(model, name)


def _is_plain(attribute: Any) -> bool:
    """Return whether reading an attribute of a class runs nothing but a property.

    What the class does not have may be an attribute of the object.
    """
    if attribute is _MISSING or isinstance(attribute, _COMPUTED):
        return True
    return not callable(attribute) and not hasattr(type(attribute), "__get__")


def _allowed_methods(model: type[Model]) -> list[str]:
    """Return the methods the class itself lists as harmless, in ``expression_methods``."""
    return [
        name
        for name in getattr(model, "expression_methods", ())
        if not is_secret_field(name) and not name.startswith("_") and _is_harmless(model, name)
    ]


def _is_harmless(model: type[Model], name: str) -> bool:
    method = getattr(model, name, None)
    return isroutine(method) and not getattr(method, "alters_data", False)


def _names_of_field(field: Field[Any, Any]) -> Iterator[tuple[str, Access]]:
    if isinstance(field, ForeignKey):
        yield from _names_of_relation(field)
        return
    is_file = isinstance(field, models.FileField)
    read = _file_name_getter(field.name) if is_file else attrgetter(field.name)
    yield field.name, Access(read, read, field=field)
    if field.choices:
        display = f"get_{field.name}_display"
        read_display = _method_getter(display)
        yield display, Access(read_display, read_display)


def _file_name_getter(name: str) -> Getter:
    return lambda obj: getattr(obj, name).name or ""


def _method_getter(name: str) -> Getter:
    return lambda obj: str(getattr(obj, name)())


def _names_of_relation(field: ForeignKey[Any, Any]) -> Iterator[tuple[str, Access]]:
    target = field.related_model
    read_id = attrgetter(field.attname)
    shows_id = not is_secret_key(field.target_field)
    if shows_id:
        yield field.attname, Access(read_id, read_id, field=field.target_field)
    if listed_names(target) is not None:
        follow = _relation_getter(field.name)
        yield field.name, Access(follow, follow, field=field, target=target)
    elif shows_id:
        yield field.name, Access(read_id, _key_getter(field), field=field)


def _relation_getter(name: str) -> Getter:
    def follow(obj: Any) -> Any:
        try:
            return getattr(obj, name)
        except ObjectDoesNotExist:
            return None

    return follow


def _key_getter(field: ForeignKey[Any, Any]) -> Getter:
    """Stand for an object that shows only its key; the object itself is not loaded."""
    read_id = attrgetter(field.attname)
    names = ["pk", field.target_field.attname] if field.target_field.primary_key else []

    def read_key(obj: Any) -> dict[str, Any] | None:
        value = read_id(obj)
        return None if value is None else dict.fromkeys(names, value)

    return read_key


def _computed_access(model: type[Model], name: str) -> Access:
    """Read a property, a plain attribute or a method; what it returns is not trusted."""
    read_raw = _raw_getter(model, name)

    def read_through(obj: Any) -> Any:
        value = unwrap(read_raw(obj))
        return value if isinstance(value, Model) else harmless(value)

    return Access(lambda obj: harmless(read_raw(obj)), read_through)


def _raw_getter(model: type[Model], name: str) -> Getter:
    if name in _allowed_methods(model):
        return lambda obj: getattr(obj, name)()
    if getattr_static(model, name, _MISSING) is _MISSING:
        return lambda obj: vars(obj).get(name)
    return attrgetter(name)


def harmless(value: Any) -> Any:
    """Return what may leave a property: no queryset, iterator, callable or hidden object."""
    value = unwrap(value)
    if isinstance(value, Model):
        if listed_names(type(value)) is not None:
            return value
        names = NAMES_OF_OTHERS[type(value)]
        return names["pk"].final(value) if "pk" in names else None
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, _LIVING) or callable(value):
        return None
    return value


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "FLOWCONTROL":
        NAMES_OF_ROOT.clear()
        NAMES_OF_OTHERS.clear()


setting_changed.connect(_forget, dispatch_uid="flowcontrol_core.expressions.visibility")
