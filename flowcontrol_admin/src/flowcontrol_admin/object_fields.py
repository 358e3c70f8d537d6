"""Choosing the object of a run: by the search of its model's admin, or by its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AutocompleteMixin, get_select2_language
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import HttpResponse, JsonResponse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from flowcontrol_admin.objects import ObjectRights
from flowcontrol_admin.pages import Page

MAX_KEY = 200
MAX_TERM = 100
PAGE = 20
#: What is added to the name of a field for the key that is typed where there is no script.
TYPED = "_key"


class ObjectSelect(AutocompleteMixin, forms.Select):
    """A list that searches as one types; without scripts, the key is typed beside it."""

    template_name = "flowcontrol_admin/object_select.html"

    def __init__(self, address: str) -> None:
        # AutocompleteMixin asks for a relation of a model, and this is none.
        forms.Select.__init__(self)
        self.address = address
        self.i18n_name = get_select2_language()

    def build_attrs(
        self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            **forms.Select.build_attrs(self, base_attrs, extra_attrs),
            "class": "admin-autocomplete",
            "data-ajax--cache": "true",
            "data-ajax--delay": 250,
            "data-ajax--type": "GET",
            "data-ajax--url": self.address,
            "data-theme": "admin-autocomplete",
            "data-allow-clear": "true",
            "data-placeholder": "",
            "lang": self.i18n_name,
        }

    def optgroups(self, name: str, value: Any, attrs: dict[str, Any] | None = None) -> Any:
        return forms.Select.optgroups(self, name, value, attrs)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        return data.get(f"{name}{TYPED}") or data.get(name)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = forms.Select.get_context(self, name, value, attrs)
        context["widget"]["typed_name"] = f"{name}{TYPED}"
        return context


class ObjectField(forms.CharField):
    """An object by its primary key; any model may have millions of them.

    With the ``address`` of a search, it is found by that.
    """

    def __init__(
        self, model: type[Model], rights: ObjectRights, *, address: str = "", present: str = ""
    ) -> None:
        self.model = model
        self.rights = rights
        label = capfirst(str(model._meta.verbose_name))
        help_text = _("Type to search.") if address else _("Its primary key.")
        super().__init__(max_length=MAX_KEY, label=label, help_text=help_text)
        self.is_searched = bool(address)
        if address:
            select = ObjectSelect(address)
            select.choices = [("", ""), *self._present(present)]
            self.widget = select

    def _present(self, key: str) -> list[tuple[str, str]]:
        """Return the object that is chosen at first or was before, as a choice."""
        found = self.rights.find(self.model, key) if key else None
        return [] if found is None else [(key, str(found))]

    def clean(self, value: Any) -> Model:
        key = super().clean(value)
        found = self.rights.find(self.model, key)
        if found is None:
            # One answer, so that it does not tell which keys exist.
            raise ValidationError(
                _("No %(model)s with the primary key “%(key)s” exists that you may view."),
                params={"model": self.model._meta.verbose_name, "key": key},
            )
        return found


def search_objects(page: Page, model: type[Model] | None) -> HttpResponse:
    """Answer the search: the objects that the admin of the model finds, and the user may view."""
    if model is None:
        return JsonResponse({"results": [], "pagination": {"more": False}})
    own = page.objects.searchable(model)
    if own is None:
        raise PermissionDenied
    term = page.request.GET.get("term", "")[:MAX_TERM].replace("\x00", "")
    shown = _found(page, own, term)
    results = [
        {"id": str(obj.pk), "text": str(obj)}
        for obj in shown.object_list
        if page.objects.may_view(obj)
    ]
    return JsonResponse({"results": results, "pagination": {"more": shown.has_next()}})


def _found(page: Page, own: ModelAdmin[Any], term: str) -> Any:
    request = page.request
    objects = own.get_queryset(request).order_by(*(own.get_ordering(request) or ("-pk",)))
    found, has_doubles = own.get_search_results(request, objects, term)
    if has_doubles:
        found = found.distinct()
    return own.get_paginator(request, found, PAGE).get_page(request.GET.get("page"))
