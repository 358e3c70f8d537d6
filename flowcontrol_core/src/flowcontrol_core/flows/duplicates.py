"""A flow copied as a whole."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.utils.translation import gettext

from flowcontrol_core.flows import drafts
from flowcontrol_core.flows.drafts import Author
from flowcontrol_core.flows.flow_triggers import COLUMNS
from flowcontrol_core.flows.lifecycle import FIELDS, create_flow
from flowcontrol_core.models import Flow, FlowTrigger

#: The length of what is kept of a key: there is room for a number after it.
_START = 80


def duplicate_flow(flow: Flow, *, author: Author = None) -> Flow:
    """Return a new flow, inactive, with what the editor shows of another one as its draft.

    It has the same settings and triggers, and a key and a name of its own. Raises
    NotPermittedError where the author may not place one of the actions.
    """
    columns: dict[str, Any] = {name: getattr(flow, name) for name in FIELDS}
    name = gettext("Copy of %(flow)s") % {"flow": flow.name}
    columns["name"] = name[: Flow._meta.get_field("name").max_length]
    document = drafts.present_document(flow)
    with drafts.atomic():
        copy = create_flow(key=_free_key(flow.key), author=author, document=document, **columns)
        triggers = FlowTrigger.objects.filter(flow=flow)
        FlowTrigger.objects.bulk_create(
            FlowTrigger(flow=copy, **{name: getattr(one, name) for name in COLUMNS})
            for one in triggers
        )
    return copy


def _free_key(key: str) -> str:
    """Return a key that no flow has, made of another one."""
    start = key[:_START]
    taken = set(Flow.objects.filter(key__startswith=f"{start}-copy").values_list("key", flat=True))
    candidates = (f"{start}-copy{number if number > 1 else ''}" for number in count(1))
    return next(each for each in candidates if each not in taken)
