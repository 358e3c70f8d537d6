"""Undo and redo of the edits of a draft."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext

from flowcontrol import flows
from flowcontrol.flows import Edit
from flowcontrol.models import Flow
from flowcontrol_admin.pages import Page


def _revert(operation: Callable[..., Edit], page: Page, flow: Flow) -> HttpResponse:
    """Take an edit back, or make it again, and show where it was."""
    seen = page.revision
    edit = operation(flow, revision=seen, author=page.user)
    page.notify(edit.message)
    if edit.version.revision != seen + 1:
        text = gettext("Others have changed other parts of the flow meanwhile.")
        page.notify(text, messages.INFO)
    is_there = edit.step in flows.get_document(edit.version).index
    anchor = f"step-{edit.step}" if is_there else "steps"
    return page.redirect("flow_editor", flow.pk, anchor=anchor)


undo = partial(_revert, flows.undo)
redo = partial(_revert, flows.redo)
