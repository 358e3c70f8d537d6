"""The shop in the admin, so that flow runs can link to their objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from .models import Customer, Order, Parcel, Voucher

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class OrderAdmin(_ModelAdmin):
    """The only one that can be searched."""

    search_fields = ("customer__name",)


admin.site.register([Customer, Parcel, Voucher])
admin.site.register(Order, OrderAdmin)
