"""``manage.py work_for_all``: one worker for all tenants, as the guide has it."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connections
from django_tenants.utils import get_tenant_model, tenant_context

from flowcontrol.engine import continue_flowruns, stopping_on_signals, wait_for_stop

logger = logging.getLogger(__name__)


def sweep(tenant: Any) -> bool:
    """Execute some runs of a tenant; return whether more are due."""
    try:
        with tenant_context(tenant):
            return continue_flowruns(limit=200).more
    except Error:
        logger.exception("The runs of %s have to wait.", tenant)
        connections.close_all()
        return False


class Command(BaseCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        more = True
        with stopping_on_signals():
            while not wait_for_stop(0 if more else 1):
                tenants = get_tenant_model().objects.exclude(schema_name="public")
                swept = [sweep(tenant) for tenant in tenants]
                more = any(swept)
