"""The filters of the list of runs; none of them reads the runs to know its choices."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.flows.overview import at_step
from flowcontrol_core.health import overdue
from flowcontrol_core.models import Flow

_Lookups = list[tuple[str, Any]]


class FlowFilter(admin.SimpleListFilter):
    """Runs of one flow."""

    title = _("flow")
    parameter_name = "flow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Lookups:
        return [(str(pk), name) for pk, name in Flow.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if not value:
            return queryset
        return queryset.filter(flow_id=int(value)) if _is_key(value) else queryset.none()


class ObjectTypeFilter(admin.SimpleListFilter):
    """Runs about objects of one model: those that flows are about."""

    title = _("object type")
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Lookups:
        labels = Flow.objects.exclude(published__object_type="").order_by()
        found = labels.values_list("published__object_type", flat=True).distinct()
        # The present one is always there: without choices the filter would not be applied.
        present = request.GET.get(self.parameter_name, "")[:200]
        return sorted((label, _model_name(label)) for label in {*found, present} if label)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        app, _dot, model = (self.value() or "").partition(".")
        if not app:
            return queryset
        types = ContentType.objects.filter(app_label=app, model=model)
        return queryset.filter(content_type__in=types)


class OverdueFilter(admin.SimpleListFilter):
    """Runs that should have been looked at long ago."""

    title = _("overdue")
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Lookups:
        return [("yes", _("Overdue"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return overdue(queryset) if self.value() == "yes" else queryset


class StepFilter(admin.SimpleListFilter):
    """Runs at one step: not offered, but linked to by the editor."""

    title = _("step")
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Lookups:
        value = request.GET.get(self.parameter_name, "")[:32]
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return at_step(queryset.live(), value) if value else queryset  # type: ignore[attr-defined]


class LiveFilter(admin.SimpleListFilter):
    """Runs that have not ended."""

    title = _("live")
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Lookups:
        return [("yes", _("Not ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.live() if self.value() == "yes" else queryset  # type: ignore[attr-defined]


def _model_name(label: str) -> str:
    try:
        return str(apps.get_model(label)._meta.verbose_name)
    except (LookupError, ValueError):
        return label


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(2**63))
