"""What a run or an event is about: a model object, known by its model, its database and its key.

By names only: neither the objects nor their content types need to be in the database of the runs.
"""

from __future__ import annotations

from typing import Any

from django.db import models, router
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.errors import raise_interruption
from flowcontrol_core.models.columns import KeyField
from flowcontrol_core.texts import storable_text

#: The most characters of a key.
MAX_KEY = 200
#: The most characters of an object's text.
_TEXT = 200
#: The columns that name an object, as those of a row that is about none.
NO_OBJECT: dict[str, Any] = {"object_type": "", "object_database": "", "object_key": None}


class AboutObject(models.Model):
    """A row that may be about a model object."""

    #: The label of its model, such as ``shop.order``.
    object_type = KeyField(_("object type"), max_length=200, blank=True, default="")
    #: The alias of the database that it is written to; empty: the one that a router names.
    object_database = KeyField(_("database of the object"), max_length=100, blank=True, default="")
    object_key = KeyField(_("object key"), max_length=MAX_KEY, null=True)

    class Meta:
        abstract = True

    @property
    def about(self) -> dict[str, Any]:
        """Return the columns that name its object: those of all rows about the same one."""
        return {name: getattr(self, name) for name in NO_OBJECT}


def about_object(obj: models.Model) -> dict[str, Any]:
    """Return the columns that name a saved object."""
    return {
        "object_type": _stored_as(obj)._meta.label_lower,
        "object_database": database_of(obj),
        "object_key": str(obj.pk),
    }


def _stored_as(obj: models.Model) -> type[models.Model]:
    """Return the model of the table of an object, which may be of a proxy of it."""
    return obj._meta.concrete_model or obj.__class__


def database_of(obj: models.Model) -> str:
    """Return the alias of the database that an object is written to, as its ``save()`` finds it.

    That of the primary for one that was read from its replica.
    """
    return router.db_for_write(obj.__class__, instance=obj)


def describe_object(obj: models.Model | None) -> str:
    """Return an object's text for people; never raises, whatever its ``__str__`` does."""
    if obj is None:
        return ""
    try:
        text = str(obj)
    except BaseException as error:  # noqa: BLE001 - a project's own method
        raise_interruption(error)
        text = f"{obj._meta.label} {obj.pk}"
    is_plain = text.isascii() and "\x00" not in text
    return text[:_TEXT] if is_plain else storable_text(text, _TEXT)


def why_nameless(obj: models.Model) -> str:
    """Return why no run can be about an object; empty where one can."""
    key = obj.pk
    if key is None:
        text = gettext("%(object)s has no primary key; save it first.")
    elif isinstance(key, tuple | bytes | memoryview):
        text = gettext(
            "No run can be about %(object)s: its primary key is not one value that text can stand "
            "for. Put its key into the state, and read it in the flow."
        )
    elif len(str(key)) > MAX_KEY:
        text = gettext(
            "No run can be about %(object)s: its primary key has %(length)d characters, and at "
            "most %(most)d are possible. Put its key into the state, and read it in the flow."
        )
    else:
        return ""
    return text % {"object": describe_object(obj), "length": len(str(key)), "most": MAX_KEY}
