"""The shop in the admin, so that flow runs can link to their objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from flowcontrol_admin import FlowAdminMixin

from .models import Customer, Order, Parcel, Voucher

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class OrderAdmin(FlowAdminMixin, _ModelAdmin):
    """The only one that can be searched, and whose objects start flows."""

    search_fields = ("customer__name",)


admin.site.register([Customer, Parcel, Voucher])
admin.site.register(Order, OrderAdmin)
