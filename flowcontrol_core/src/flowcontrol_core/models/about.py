"""What a run or an event is about: a model object, known by its model, its database and its key.

By names only: neither the objects nor their content types need to be in the database of the runs.
"""

from __future__ import annotations

from typing import Any

from django.db import models, router
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.models.columns import KeyField

#: The most characters of a key.
MAX_KEY = 200
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
