"""What Django's autodiscovery imports: the model admins."""

from __future__ import annotations

from django.contrib import admin

from flowcontrol.models import Flow, FlowRun
from flowcontrol_admin.flows import FlowAdmin
from flowcontrol_admin.runs import FlowRunAdmin

admin.site.register(Flow, FlowAdmin)
admin.site.register(FlowRun, FlowRunAdmin)
