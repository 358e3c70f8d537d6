"""The admin: forms in, verbs out. Django's autodiscovery imports this package."""

from __future__ import annotations

from django.contrib import admin

from flowcontrol_admin.flows import FlowAdmin
from flowcontrol_admin.runs import FlowRunAdmin
from flowcontrol_core.models import Flow, FlowRun

admin.site.register(Flow, FlowAdmin)
admin.site.register(FlowRun, FlowRunAdmin)
