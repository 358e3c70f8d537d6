"""What can be asked of the lists: their own filters, columns and search, and nothing hidden.

The decisions are written down here, by list; the lookups are made from the models, so that a new
field, filter or list without a decision fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

import flowcontrol_admin.runs
from flowcontrol.engine import create_flowrun
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, step
from flowcontrol_core.models import search
from tests.shop.models import Customer

from .conftest import logged_in, make_user, url

#: Of each list: the filters of its address, what it searches, and what it is sorted by.
DECISIONS: dict[type[models.Model], tuple[set[str], set[str], set[str]]] = {
    Flow: (
        {"active__exact", "paused__exact", "changes"},
        {"name", "key", "description"},
        {"name", "active", "version_number", "last_finished"},
    ),
    FlowRun: (
        {
            "attention", "status__exact", "outcome__exact", "live", "overdue", "flow",
            "object_type", "about", "step", "error",
        },
        {"id", "uuid", "object_key", "flow__key", "flow__name", "object_text"},
        {"id", "status", "since"},
    ),
}  # fmt: skip
#: What a run holds that its page hides from some, or that no page shows.
HIDDEN = ("state", "payload", "reason_values", "cursor", "events_taken", "version__document",
          "flow__draft__document", "inbox__data", "events__values", "events__error",
          "events__steps", "object_text", "object_key")  # fmt: skip
DEPTH = 2


def our_lists() -> dict[type[models.Model], ModelAdmin[Any]]:
    """Return the lists that a distribution of this repository has registered."""
    return {
        model: found
        for model, found in admin.site._registry.items()
        if type(found).__module__.startswith("flowcontrol")
    }


def columns(found: ModelAdmin[Any]) -> Iterator[str]:
    """Yield what the columns of a list are sorted by."""
    names = {field.name for field in found.model._meta.get_fields()}
    for column in found.get_list_display(HttpRequest()):
        name = str(column)
        by = name if name in names else getattr(column, "admin_order_field", None)
        if by:
            yield by


def lookups(model: type[models.Model], depth: int = DEPTH) -> Iterator[str]:
    """Yield every lookup of a model's fields, and of those that relations lead to."""
    for field in model._meta.get_fields():
        name = field.name
        yield name
        if isinstance(field, models.Field):
            yield getattr(field, "attname", name)
            yield from (f"{name}{LOOKUP_SEP}{lookup}" for lookup in field.get_lookups())
        if isinstance(field, models.JSONField):
            yield from (f"{name}__password__startswith", f"{name}__0__regex")
        if field.is_relation and field.related_model and depth:
            below = lookups(field.related_model, depth - 1)
            yield from (f"{name}{LOOKUP_SEP}{lookup}" for lookup in below)


def test_a_decision_is_written_down_for_each_list() -> None:
    assert set(our_lists()) == set(DECISIONS)


@pytest.mark.parametrize("model", DECISIONS, ids=lambda model: model.__name__)
def test_a_list_has_the_filters_search_and_columns_of_its_decision(
    model: type[models.Model],
) -> None:
    found = our_lists()[model]
    filters, searched, sorted_by = DECISIONS[model]
    listed: Any = found.get_list_filter(HttpRequest())
    assert {one.parameter_name for one in listed} == filters
    assert set(found.search_fields) == searched
    assert set(columns(found)) == sorted_by
    assert found.date_hierarchy is None
    assert found.autocomplete_fields == ()
    assert found.list_editable == ()


@pytest.mark.parametrize("model", DECISIONS, ids=lambda model: model.__name__)
def test_no_lookup_of_any_field_is_allowed_but_the_filters(model: type[models.Model]) -> None:
    found = our_lists()[model]
    asked = set(lookups(model))
    assert len(asked) > 1_000
    allowed = {lookup for lookup in asked if found.lookup_allowed(lookup, "x", None)}  # type: ignore[arg-type]
    assert allowed - DECISIONS[model][0] == set()


@pytest.fixture
def reader(db: None) -> Client:
    return logged_in(make_user("reader", "view_flow", "view_flowrun"))


@pytest.mark.parametrize("model", DECISIONS, ids=lambda model: model.__name__)
def test_the_list_refuses_each_field_however_it_is_asked(
    reader: Client, live: Flow, model: type[models.Model]
) -> None:
    create_flowrun(live, state={"password": "Sesame"})
    address = reverse(f"admin:flowcontrol_core_{model._meta.model_name}_changelist")
    own = DECISIONS[model][0]
    names = {field.name for field in model._meta.get_fields()} - own
    asked = [f"{name}__startswith" for name in names] + [f"{name}__isnull" for name in names]
    asked += [f"{name}__regex" for name in (*HIDDEN, "state__password")]
    for lookup in asked:
        assert reader.get(address, {lookup: "S"}).status_code == 400, lookup


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_to_field", "state"), ("_to_field", "uuid"), ("_to_field", "flow__key"),
        ("_to_field", "nosuch"),
    ],
)  # fmt: skip
def test_a_popup_gives_no_column_away(reader: Client, live: Flow, name: str, value: str) -> None:
    for address in (url("flowrun_changelist"), url("flow_changelist")):
        assert reader.get(address, {"_popup": "1", name: value}).status_code == 400
        assert reader.get(address, {"_popup": "1", "_to_field": "id"}).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"_facets": "1"}, {"o": "99"}, {"o": "-3.1.x"}, {"o": "state"}, {"o": "-state.password"},
        {"p": "999999"}, {"p": "x"}, {"all": ""}, {"e": "1"}, {"q": "\x00"}, {"q": "x" * 10_000},
        {"status__exact": "\x00"}, {"status__exact": "nosuch"}, {"outcome__exact": "x" * 10_000},
        {"flow": "\x00"}, {"flow": "9" * 100}, {"step": "\x00"}, {"step": 'a", "phase": "run"'},
        {"step": "x" * 100_000}, {"object_type": "\x00"}, {"object_type": "shop.\x00"},
        {"object_type": "x" * 100_000}, {"live": "\x00"}, {"overdue": "maybe"},
        {"active__exact": "\x00"}, {"paused__exact": "2"}, {"changes": "\x00"},
    ],
    ids=str,
)  # fmt: skip
def test_no_value_breaks_a_list(reader: Client, live: Flow, query: dict[str, str]) -> None:
    create_flowrun(live)
    for address in (url("flowrun_changelist"), url("flow_changelist")):
        response = reader.get(address, query)
        assert response.status_code in (200, 302, 400)


def test_a_step_that_is_asked_for_is_an_id_and_reads_nothing_else_of_the_cursor(
    reader: Client, live: Flow
) -> None:
    run = create_flowrun(live)
    cursor = [
        {"step": "loop", "branch": "body", "phase": "inside", "memo": {"pin": "4711"}},
        {"step": "wait", "phase": "run"},
    ]
    FlowRun.objects.filter(pk=run.pk).update(cursor=cursor)

    def hits(step: str) -> int:
        response = reader.get(url("flowrun_changelist"), {"step": step})
        return len(response.context["cl"].result_list)

    assert hits("wait") == 1
    stolen = 'loop", "branch": "body", "phase": "inside", "memo": {"pin": "4711"}}, {"step": "wait'
    assert hits(stolen) == 0


def test_the_autocompletion_searches_what_the_list_searches(live: Flow) -> None:
    create_flowrun(live, state={"password": "Sesame"})

    def found(client: Client, field: str, term: str) -> Any:
        query = {
            "app_label": "flowcontrol_core", "model_name": "flowrun", "field_name": field,
            "term": term,
        }  # fmt: skip
        return client.get(reverse("admin:autocomplete"), query)

    blind = logged_in(make_user("blind"))
    assert found(blind, "flow", "live").status_code == 403
    reader = logged_in(make_user("reader", "view_flow", "view_flowrun"))
    assert [one["text"] for one in found(reader, "flow", "live").json()["results"]] == [str(live)]
    assert found(reader, "parent", "Sesame").json()["results"] == []
    assert found(reader, "version", "Sesame").status_code == 403
    assert found(reader, "content_type", "").status_code == 403


def test_the_list_says_what_is_searched_and_that_it_shows_the_first_hits_only(
    reader: Client, live: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (search, flowcontrol_admin.runs):
        monkeypatch.setattr(module, "MOST_FOUND", 2)

    def page(text: str) -> str:
        return reader.get(url("flowrun_changelist"), {"q": text}).content.decode()

    create_flowrun(live)
    assert "among the newest 10000 runs" in page(live.key)
    assert "Only the first" not in page(live.key)
    create_flowrun(live)
    create_flowrun(live)
    assert "Only the first 2 are listed" in page(live.key)


def test_neither_search_nor_order_tells_of_an_object_that_may_not_be_viewed(db: None) -> None:
    flow = publish_flow(build(step("test.wait"), object="shop.customer"), key="c")
    for name in ("Ada", "Grace"):
        create_flowrun(flow, Customer.objects.create(name=name))
    seeing = logged_in(make_user("seeing", "view_flowrun", "view_customer"))
    blind = logged_in(make_user("blind", "view_flowrun"))

    def listed(client: Client, **query: str) -> list[int]:
        response = client.get(url("flowrun_changelist"), query)
        return [run.pk for run in response.context["cl"].result_list]

    (ada,) = listed(seeing, q="Ada")
    assert listed(blind, q="Ada") == []
    key = "an order number"
    FlowRun.objects.filter(pk=ada).update(object_key=key)
    for text in (key, key[:8]):
        assert (listed(seeing, q=text), listed(blind, q=text)) == ([ada], []), text
    # What they are told anyway: which runs there are, and of which flow.
    for text, hits in {f"#{ada}": 1, str(FlowRun.objects.get(pk=ada).uuid): 1, "c": 2}.items():
        assert len(listed(blind, q=text)) == hits, text
    assert listed(blind, o="3") == listed(blind, o="-3") == listed(blind)
    assert "Ada" in seeing.get(url("flowrun_changelist")).content.decode()
    assert "Ada" not in blind.get(url("flowrun_changelist")).content.decode()
