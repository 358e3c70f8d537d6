"""The filters of the lists; none of them reads the rows to know its choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from flowcontrol import flows
from flowcontrol.health import overdue_runs
from flowcontrol.models import Flow
from flowcontrol_core.flows.document_checks import find_model

_Choices: TypeAlias = list[tuple[str, Any]]
_Rows: TypeAlias = QuerySet[Any]


class OptionFilter(admin.SimpleListFilter):
    """A filter with a fixed set of options: each has a label, and chooses rows."""

    options: ClassVar[Mapping[str, tuple[Any, Callable[[Any], _Rows]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(value, label) for value, (label, _choose) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        option = self.options.get(self.value() or "")
        return option[1](queryset) if option else queryset


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
    options = {"yes": (_("Not ended"), lambda runs: runs.live())}


class FlowFilter(admin.SimpleListFilter):
    """Runs of one flow."""

    title = _("flow")
    parameter_name = "flow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [(str(pk), name) for pk, name in Flow.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: _Rows) -> _Rows:
        value = self.value() or ""
        if not value:
            return queryset
        return queryset.filter(flow_id=int(value)) if _is_key(value) else queryset.none()


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
        value = self.value()
        return queryset.filter(object_type=value) if value else queryset


class StepFilter(admin.SimpleListFilter):
    """Runs at one step: not offered, but linked to by the editor."""

    title = _("step")
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        value = request.GET.get(self.parameter_name, "")[:32]
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: Any) -> _Rows:
        value = self.value()
        return flows.at_step(queryset.live(), value) if value else queryset


def _model_name(label: str) -> str:
    model = find_model(label)
    return str(model._meta.verbose_name) if model else label


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(2**63))
