"""The shop in the admin, so that flow runs can link to their objects."""

from __future__ import annotations

from django.contrib import admin

from shop.models import Customer, Order, Voucher

admin.site.register([Customer, Order, Voucher])
