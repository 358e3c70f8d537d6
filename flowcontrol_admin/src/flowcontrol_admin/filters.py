"""The filters of the lists; none of them reads the rows to know its choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias

from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.health import overdue_runs
from flowcontrol.models import Flow, Outcome, Status
from flowcontrol_admin.attention import needing_attention
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_core.flows.document_checks import find_model

_Choices: TypeAlias = list[tuple[str, Any]]
_Rows: TypeAlias = QuerySet[Any]
MOST_CHARACTERS = 100
_ERROR = re.compile(rf"\w{{1,{MOST_CHARACTERS}}}", re.ASCII)
_LABEL = re.compile(r"\w{1,100}\.\w{1,100}")


class OptionFilter(admin.SimpleListFilter):
    """A filter with a fixed set of options: each has a label, and chooses rows."""

    options: ClassVar[Mapping[str, tuple[Any, Callable[[Any], _Rows]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(value, label) for value, (label, _choose) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        option = self.options.get(self.value() or "")
        return option[1](queryset) if option else queryset


def column_filter(
    column: str, label: Any, labels: Iterable[tuple[Any, Any]]
) -> type[admin.SimpleListFilter]:
    """Return a filter by the values of a column; another value than these chooses no rows."""

    class ColumnFilter(OptionFilter):
        title = label
        # As Django's own filters of columns call theirs, so that links stay valid.
        parameter_name = f"{column}__exact"
        options = {
            str(value): (text, partial(_equal, column=column, value=value))
            for value, text in labels
        }

        def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
            chosen = self.value()
            if not chosen or chosen in self.options:
                return super().queryset(request, queryset)
            return queryset.none()

    return ColumnFilter


def _equal(rows: _Rows, *, column: str, value: object) -> _Rows:
    return rows.filter(**{column: value})


_YES_NO = ((1, _("Yes")), (0, _("No")))
ActiveFilter = column_filter("active", _("active"), _YES_NO)
PausedFilter = column_filter("paused", _("paused"), _YES_NO)
StatusFilter = column_filter("status", _("status"), Status.choices)
OutcomeFilter = column_filter("outcome", _("outcome"), Outcome.choices)


class ChangesFilter(OptionFilter):
    """Flows that have something to publish."""

    title = _("unpublished changes")
    parameter_name = "changes"
    options = {
        "yes": (_("Yes"), lambda rows: rows.filter(has_changes=True)),
        "no": (_("No"), lambda rows: rows.filter(has_changes=False)),
    }


class OverdueFilter(OptionFilter):
    """Runs that a worker should have executed by now."""

    title = _("overdue")
    parameter_name = "overdue"
    options = {
        "yes": (
            _("Overdue"),
            lambda runs: runs.filter(pk__in=overdue_runs().order_by().values("pk")),
        )
    }


class LiveFilter(OptionFilter):
    """Runs that have not ended."""

    title = _("live")
    parameter_name = "live"
    options = {
        "yes": (_("Not ended"), lambda runs: runs.live()),
        "no": (_("Ended"), lambda runs: runs.filter(status=Status.DONE)),
    }


class AttentionFilter(OptionFilter):
    """Runs that a person has to deal with."""

    title = _("attention")
    parameter_name = "attention"
    options = {"yes": (_("Needs attention"), needing_attention)}


class FlowFilter(admin.SimpleListFilter):
    """Runs of one flow."""

    title = _("flow")
    parameter_name = "flow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        # The list shows their names, and need not read them again.
        self.flows = {flow.pk: flow for flow in Flow.objects.only("key", "name")}
        return [(str(pk), flow.name) for pk, flow in self.flows.items()]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        value = self.value() or ""
        if not value:
            return queryset
        return queryset.filter(flow_id=int(value)) if is_key(value) else queryset.none()


class ObjectTypeFilter(admin.SimpleListFilter):
    """Runs whose objects are of one model: those that the flows are about."""

    title = _("object type")
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        labels = Flow.objects.exclude(published__object_type="").order_by()
        found = labels.values_list("published__object_type", flat=True).distinct()
        # The present one is always there: without choices the filter would not be applied.
        present = request.GET.get(self.parameter_name, "")[:200]
        return sorted((label, _model_name(label)) for label in {*found, present} if label)

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        label = self.value() or ""
        if not label:
            return queryset
        return queryset.filter(object_type=label) if _LABEL.fullmatch(label) else queryset.none()


class ObjectFilter(admin.SimpleListFilter):
    """Runs about one object of the chosen type: not offered, but linked to by its page.

    To those who may not view the object, it tells nothing.
    """

    title = _("object")
    parameter_name = "about"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._label = request.GET.get(ObjectTypeFilter.parameter_name, "")[:200]
        self._rights = ObjectRights(request, model_admin.admin_site)

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        value = request.GET.get(self.parameter_name, "")[:200]
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        key = self.value() or ""
        if not key:
            return queryset
        model = find_model(self._label)
        is_visible = self._rights.may_view_every(model) or (
            model is not None and self._rights.find(model, key) is not None
        )
        is_usable = is_visible and "\x00" not in key
        wanted = {"object_type": self._label, "object_key": key}
        return queryset.filter(**wanted) if is_usable else queryset.none()


class StepFilter(admin.SimpleListFilter):
    """Runs at one step: not offered, but linked to by the editor."""

    title = _("step")
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        value = request.GET.get(self.parameter_name, "")[:32]
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: Any) -> _Rows:
        value = self.value()
        found: _Rows = queryset
        if not value:
            return found
        has_failed = ErrorFilter.parameter_name in request.GET
        return flows.at_step(queryset if has_failed else queryset.live(), value)


class ErrorFilter(admin.SimpleListFilter):
    """Runs that an error of one type ended: not offered, but linked to by the page of a run."""

    title = _("error")
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        self.rights = ObjectRights(request, model_admin.admin_site)
        # The present one is always there: without choices the filter would not be applied.
        value = request.GET.get(self.parameter_name, "")[:MOST_CHARACTERS]
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: Any) -> _Rows:
        value = self.value()
        found: _Rows = queryset
        if not value:
            return found
        found = failed_with(found, value)
        # A hit would tell of an error that the page of a run hides with its object.
        labels = found.order_by().values_list("object_type", flat=True).distinct()
        shown = [label for label in labels if not label or self.rights.may_search(label)]
        return found.filter(object_type__in=shown)


def failed_with(runs: _Rows, error: str) -> _Rows:
    """Return the runs that an error of this type ended; none for what is not the name of one.

    It is read from the reason as text, which all databases write alike.
    """
    if not _ERROR.fullmatch(error):
        return runs.none()
    ended = runs.filter(status=Status.DONE, outcome=Outcome.ERRORED, reason_code="step_failed")
    told = ended.annotate(reason_text=Cast("reason_values", models.TextField()))
    beginning = f'"error": "{error}'
    found: _Rows = told.filter(
        models.Q(reason_text__contains=f"{beginning}: ")
        | models.Q(reason_text__contains=f'{beginning}"')
    )
    return found


def _model_name(label: str) -> str:
    model = find_model(label)
    return str(model._meta.verbose_name) if model else label


def is_key(text: str) -> bool:
    """Return whether a text may be a primary key of ours."""
    return text.isascii() and text.isdigit() and len(text) < len(str(2**63))
