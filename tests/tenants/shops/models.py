"""A tenant and its domains."""

from __future__ import annotations

from django_tenants.models import DomainMixin, TenantMixin


class Shop(TenantMixin):  # type: ignore[misc]
    """A tenant; its schema is made when it is saved."""

    auto_create_schema = False


class Domain(DomainMixin):  # type: ignore[misc]
    """A host name that belongs to a tenant."""
