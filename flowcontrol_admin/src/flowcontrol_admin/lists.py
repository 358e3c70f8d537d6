"""What both lists share: nothing but their own filters, columns and search can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class ClosedList(_ModelAdmin):
    """A list that answers no lookup in its address but those of its own filters.

    A lookup that is answered with the rows, or with none, gives every column away letter by letter;
    a regular expression can keep the database busy. So all filters are ``SimpleListFilter``.
    """

    # It would count the rows of each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        filters: Any = self.list_filter
        return lookup in {one.parameter_name for one in filters}

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return to_field == self.opts.pk.name
