"""What was done to a flow: what is recorded of it, and what the admin has logged beside."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.utils.translation import gettext_lazy as _

from flowcontrol_core.models import Flow, FlowEvent

#: The newest so many are shown.
MOST = 200
_WORDS = {
    "create": _("Added"),
    "change": _("Changed the settings"),
    "publish": _("Published"),
    "activate": _("Activated"),
    "deactivate": _("Deactivated"),
    "pause": _("Paused"),
    "resume": _("Resumed"),
    "delete": _("Deleted a flow with this key"),
    "prune": _("Pruned"),
}


class Row(NamedTuple):
    """One thing that was done."""

    at: datetime
    actor: str
    what: str
    message: str


def history_of(flow: Flow) -> list[Row]:
    """Give what was done to a flow, the newest first."""
    events = FlowEvent.objects.filter(key=flow.key).order_by("-pk")[:MOST]
    rows = [
        Row(event.at, event.actor, str(_WORDS.get(event.operation, event.operation)), event.message)
        for event in events
    ]
    logged = LogEntry.objects.filter(
        content_type=get_content_type_for_model(flow), object_id=str(flow.pk)
    )
    rows += [
        Row(entry.action_time, str(entry.user), entry.get_change_message(), "")
        for entry in logged.select_related("user").order_by("-action_time")[:MOST]
    ]
    return sorted(rows, key=lambda row: row.at, reverse=True)[:MOST]
