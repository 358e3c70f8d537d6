"""Columns behave alike on all databases."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from flowcontrol_core.bounds import BRANCH_DEPTH
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.flows.drafts import get_document, open_draft
from flowcontrol_core.flows.lifecycle import create_flow
from flowcontrol_core.models import Flow

pytestmark = pytest.mark.django_db


def nested(depth: int) -> Step:
    step = Step(id=f"s{depth}", action="builtin.if", config_version=1)
    for level in range(depth - 1, -1, -1):
        branches = {"then": (step,)}
        step = Step(id=f"s{level}", action="builtin.if", config_version=1, branches=branches)
    return step


def test_document_as_deep_as_allowed_is_stored_and_read_back() -> None:
    document = Document(steps=(nested(BRANCH_DEPTH - 1),))
    flow = create_flow(key="deep", name="Deep", document=document)
    assert get_document(open_draft(Flow.objects.get(pk=flow.pk))) == document


def test_keys_are_sorted_byte_by_byte() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_name = "
                "'flowcontrol_core_flowrun' AND column_name IN ('object_type', 'object_key')"
            )
            assert cursor.fetchall() == [("C",)]
    keys = ["a", "B", "-a", "é", "z"]
    for key in keys:
        Flow.objects.create(key=key, name=key)
    assert list(Flow.objects.order_by("key").values_list("key", flat=True)) == sorted(keys)


def test_keys_that_differ_in_case_or_trailing_space_are_different() -> None:
    for key in ("abc", "ABC", "abc "):
        with transaction.atomic():
            Flow.objects.create(key=key, name=key)
    assert Flow.objects.get(key="abc ").name == "abc "
    with pytest.raises(IntegrityError), transaction.atomic():
        Flow.objects.create(key="ABC", name="again")
