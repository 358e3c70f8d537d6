"""What a person types finds runs: by number, UUID, object, flow, and words of the object's text."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from flowcontrol_core.models import Flow, FlowRun, Status, search
from tests.cases import each

from .conftest import publish, think

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def orders() -> Flow:
    return publish(think(), key="orders", name="Follow-up of orders")


def add(flow: Flow, object_type: str = "", key: str | None = None, **values: Any) -> FlowRun:
    values = {"created_at": timezone.now(), "since": timezone.now(), **values}
    return FlowRun.objects.create(
        flow=flow,
        version_id=flow.published_id or 0,
        object_type=object_type,
        object_key=key,
        **values,
    )


def order(flow: Flow, key: str, text: str = "", **values: Any) -> FlowRun:
    return add(flow, "shop.order", key, object_text=text or f"Order {key}", **values)


def found(text: str, **filters: Any) -> set[int]:
    return {run.pk for run in FlowRun.objects.filter(**filters).search(text)}


def test_a_run_is_found_by_its_number(orders: Flow) -> None:
    first, _second = add(orders), add(orders)
    assert found(f"#{first.pk}") == found(f" {first.pk} ") == {first.pk}
    assert found("#999999999999999999") == set()
    assert found("9" * 30) == set()


def test_a_run_is_found_by_its_uuid_and_the_beginning_of_it(orders: Flow) -> None:
    name = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
    one = add(orders, uuid=UUID(name)).pk
    other = add(orders, uuid=UUID("aaaaaaaa-bbbf-4ccc-8ddd-eeeeeeeeeeee")).pk
    add(orders, uuid=UUID("aaaaaaab-bbbb-4ccc-8ddd-eeeeeeeeeeee"))
    add(orders, uuid=UUID("eeeeeeee-aaaa-4aaa-8aaa-aaaaaaaaaaaa"))
    for text in (name, name.upper(), name.replace("-", ""), name[:13]):
        assert found(text) == {one}, text
    assert found("aaaaaaaa") == found("aaaaaaaa-bbb") == {one, other}
    assert found("aaaaaaa") == set()
    assert found("aaaaaaaa-cccc") == set()


def test_where_no_index_has_it_the_beginning_of_a_uuid_is_sought_among_the_newest(
    orders: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "mysql" or not connection.features.has_native_uuid_field:
        pytest.skip("An index has the beginnings")
    monkeypatch.setattr(search, "MOST_READ", 2)
    old, _second, new = add(orders), add(orders), add(orders)
    assert found(str(new.uuid)[:8]) == {new.pk}
    assert found(str(old.uuid)[:8]) == set()
    assert found(str(old.uuid)) == {old.pk}


def test_a_run_is_found_by_the_key_of_its_object_whatever_its_model(orders: Flow) -> None:
    numbered = order(orders, "A-12")
    of_app_that_is_gone = add(orders, "gone.thing", "A-12")
    add(orders, "shop.order", "A-123")
    add(orders)
    assert found("A-12") == {numbered.pk, of_app_that_is_gone.pk}


@each(
    ("keys", "text", "hits"),
    [
        (["ab", "ab1", "ab-2", "abé", "ab😀", "ac", "a", "Ab", "aB"], "ab", ["ab"]),
        (["ab1", "ab-2", "abé", "ab😀", "ac", "a", "AB"], "ab", ["ab1", "ab-2", "abé", "ab😀"]),
        (["x%1", "xy1", "x_1"], "x%", ["x%1"]),
        (["x%1", "xy1", "x_1"], "x_", ["x_1"]),
        (["é1", "e1", "f1"], "é", ["é1"]),
    ],
)  # fmt: skip
def test_where_no_object_has_the_key_those_are_found_whose_keys_begin_so(
    orders: Flow, keys: list[str], text: str, hits: list[str]
) -> None:
    FlowRun.objects.all().delete()
    for key in keys:
        order(orders, key, "-")
    assert {run.object_key for run in FlowRun.objects.search(text)} == set(hits)


def test_the_runs_of_a_flow_are_found_by_its_key_and_its_name(orders: Flow) -> None:
    run = add(orders)
    add(publish(think(), key="orders-2", name="Follow-up"))
    assert found("orders") == found("Follow-up of orders") == {run.pk}


def test_all_that_a_text_names_is_found(orders: Flow) -> None:
    run = add(orders)
    about = order(orders, str(run.pk))
    named = add(publish(think(), key=str(run.pk)))
    assert found(str(run.pk)) == {run.pk, about.pk, named.pk}


def test_words_of_the_objects_text_are_found_where_the_text_names_nothing(orders: Flow) -> None:
    ada = order(orders, "1", "Ada Lovelace, London")
    order(orders, "2", "Ada Byron, London")
    assert found("london lovelace") == {ada.pk}
    assert found("Lace") == {ada.pk}
    order(orders, "Lace")
    assert ada.pk not in found("Lace")


def test_words_are_sought_among_the_newest_runs_only(
    orders: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_READ", 2)
    order(orders, "1", "Ada")
    newer = [order(orders, key, "Ada").pk for key in "23"]
    assert found("Ada") == set(newer)


def test_at_most_so_many_are_found(orders: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_FOUND", 2)
    same = [order(orders, "A-1").pk for _ in range(3)]
    assert found("A-1") == set(same[1:])
    live = order(publish(think(), key="other"), "A-2", status=Status.WAITING).pk
    for key, most in {"A-": 2, "orders": 2, "Order": 2, "other": 1}.items():
        assert len(found(key)) == most, key
    assert found("other") == {live}


def test_a_search_is_within_the_runs_that_it_is_asked_of(orders: Flow) -> None:
    order(orders, "1", "Ada")
    waiting = order(orders, "1", "Ada", status=Status.WAITING)
    for text in ("1", "Ada", "orders", "#1"):
        assert found(text, status=Status.WAITING) <= {waiting.pk}, text
    assert found("1", status=Status.WAITING) == found("Ada", status=Status.WAITING) == {waiting.pk}


def test_objects_of_a_model_that_may_not_be_searched_are_not_found(orders: Flow) -> None:
    hidden = order(orders, "A-1", "Ada")
    shown = add(orders, "shop.parcel", "A-1", object_text="Ada")
    runs = FlowRun.objects.all()

    def hits(text: str) -> set[int]:
        return {run.pk for run in runs.search(text, lambda label: label == "shop.parcel")}

    assert hits("A-1") == hits("A-") == hits("Ada") == {shown.pk}
    assert hits(f"#{hidden.pk}") == hits(str(hidden.uuid)) == {hidden.pk}


@each(
    "text",
    ["", " ", "\x00", "a\x00", "\ud800", "x" * 10_000, "%", "_", "\\", "-", "#", "'", "²"],
)
def test_no_text_breaks_a_search(orders: Flow, text: str) -> None:
    order(orders, "1")
    assert found(text) == set()
