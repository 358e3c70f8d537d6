"""The shop in the admin: its objects start flows, and lead to their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from flowcontrol_admin import FlowAdminMixin
from shop.models import Customer, Order, Voucher

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


@admin.register(Customer)
class CustomerAdmin(FlowAdminMixin, _ModelAdmin):
    """Found by name and address where a flow is started."""

    search_fields = ("name", "email")


@admin.register(Order)
class OrderAdmin(FlowAdminMixin, _ModelAdmin):
    """Found by its customer."""

    search_fields = ("customer__name",)


admin.site.register(Voucher)
