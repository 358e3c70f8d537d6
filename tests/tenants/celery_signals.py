"""Celery's messages name the schema of the tenant that they are about, as the guide has it."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import before_task_publish, task_prerun
from django.db import connection
from django_tenants.utils import get_tenant_model, tenant_context

from flowcontrol.tasks import continue_flowruns_task


@before_task_publish.connect
def name_schema(headers: dict[str, Any], **_: Any) -> None:
    headers["schema"] = connection.schema_name


@task_prerun.connect
def enter_schema(task: Any, **_: Any) -> None:
    connection.set_schema(getattr(task.request, "schema", None) or "public")


@shared_task
def continue_for_all() -> None:
    """Run by beat: has the due runs of each tenant executed."""
    for tenant in get_tenant_model().objects.exclude(schema_name="public"):
        with tenant_context(tenant):
            continue_flowruns_task.delay()
