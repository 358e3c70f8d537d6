"""Deleting a flow with its versions and the runs that have ended."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, ngettext

from flowcontrol_core.errors import EditError
from flowcontrol_core.flows.changes import atomic, lock, record
from flowcontrol_core.flows.lifecycle import deactivate
from flowcontrol_core.models import Flow, FlowOperation, FlowRun, Status

#: Runs that are deleted with one statement.
CHUNK = 500


def delete_flow(flow: Flow, *, by: Any = None, reason: str = "") -> int:
    """Delete a flow with its versions, its triggers and its runs; give the number of runs.

    Raises EditError where runs have not ended: cancel them first. It is deactivated before, so
    that no further run starts meanwhile.
    """
    _refuse_live(flow)
    if flow.active:
        deactivate(flow, by=by, reason=reason)
    with atomic():
        lock(flow)
        _refuse_live(flow)
        deleted = _delete_runs(flow)
        flow.delete()
        record(flow.key, FlowOperation.DELETE, {"runs": deleted}, by=by, reason=reason)
    return deleted


def _refuse_live(flow: Flow) -> None:
    live = FlowRun.objects.filter(flow=flow).live().count()
    if live:
        text = ngettext(
            "%(count)d run of the flow has not ended. Cancel it, or wait for its end.",
            "%(count)d runs of the flow have not ended. Cancel them, or wait for their end.",
            live,
        )
        refused = gettext("The flow “%(flow)s” cannot be deleted.") % {"flow": flow}
        raise EditError(f"{refused} {text % {'count': live}}")


def _delete_runs(flow: Flow) -> int:
    deleted = 0
    while True:
        ended = FlowRun.objects.filter(flow=flow, status=Status.DONE)
        ids = list(ended.values_list("pk", flat=True)[:CHUNK])
        if not ids:
            return deleted
        FlowRun.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
