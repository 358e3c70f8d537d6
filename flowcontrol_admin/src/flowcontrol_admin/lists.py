"""What both lists share: nothing but their own filters, columns and search can be asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class ClosedList(_ModelAdmin):
    """A list that answers no lookup in its address but those of its own filters.

    A lookup that is answered with the rows, or with none, gives every column away letter by letter;
    a regular expression can keep the database busy. So all filters are ``SimpleListFilter``.

    Its columns, filters and addresses are those of ``page``, a module of ``COLUMNS``, ``FILTERS``,
    ``LIST`` and ``urls``. It is imported when they are first asked for: every process imports the
    model admins, and a worker shows no page.
    """

    #: The name of the module.
    page_name: str
    # It would count the rows of each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        filters: Any = self.get_list_filter(request)  # type: ignore[arg-type]
        return lookup in {one.parameter_name for one in filters}

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return to_field == self.opts.pk.name

    @property
    def page(self) -> ModuleType:
        """Return the module of what the list shows."""
        return import_module(self.page_name)

    def get_urls(self) -> list[Any]:
        found: list[Any] = self.page.urls(self)
        return found

    def get_list_display(self, request: HttpRequest) -> Any:
        return self.page.COLUMNS

    def get_list_filter(self, request: HttpRequest) -> Any:
        return self.page.FILTERS

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        found: type[ChangeList] = self.page.LIST
        return found
