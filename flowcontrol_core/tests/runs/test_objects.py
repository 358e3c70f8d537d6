"""The model object of a run: read when it is touched, once a transaction, never another one's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import InterfaceError, models

from flowcontrol_core.models import FlowRun
from flowcontrol_core.runs.execution.start import create_flowrun
from flowcontrol_core.runs.store.objects import ObjectSource
from tests.shop.models import Customer, Parcel, Voucher

from .conftest import (
    Lab,
    Once,
    counted,
    fresh,
    publish,
    send,
    sweep,
    think,
    write,
)

pytestmark = pytest.mark.django_db


def reads(sql: list[str]) -> int:
    return sum("shop_customer" in one and one.startswith("SELECT") for one in sql)


def look(run: Any, obj: Any) -> None:
    run.state["names"] = [*run.state.get("names", []), obj.name]


def rename(run: Any, obj: Any) -> None:
    obj.name += "!"
    obj.save(update_fields=["name"])


def test_object_is_read_once_in_a_transaction(lab: Lab) -> None:
    lab.on("look", look)
    run = create_flowrun(
        publish(write("look"), think("look"), write("look")), Customer.objects.create(name="Ada")
    )
    with counted() as counts:
        sweep()
    assert reads(counts.queries) == 1
    assert fresh(run).state == {"names": ["Ada"] * 3}


def test_object_is_not_read_by_steps_that_do_not_touch_it(lab: Lab) -> None:
    create_flowrun(publish(think(), write("w")), Customer.objects.create(name="Ada"))
    with counted() as counts:
        sweep()
    assert reads(counts.queries) == 0


def test_objects_of_all_runs_of_a_claim_are_read_together(lab: Lab) -> None:
    lab.on("look", look)
    flow = publish(think("look"), think("look"))
    runs = [create_flowrun(flow, Customer.objects.create(name=str(n))) for n in range(10)]
    with counted() as counts:
        sweep()
    assert reads(counts.queries) == 1
    assert [fresh(run).state["names"][0] for run in runs] == [str(n) for n in range(10)]


def test_key_that_the_database_refuses_concerns_its_own_run_only(lab: Lab) -> None:
    lab.on("look", look)
    flow = publish(think("look"))
    bad, *good = (create_flowrun(flow, Customer.objects.create(name=name)) for name in "abc")
    FlowRun.objects.filter(pk=bad.pk).update(object_key="9" * 30)
    sweep()
    assert [fresh(run).state["names"] for run in good] == [["b"], ["c"]]
    assert fresh(bad).outcome == "obsolete"


def test_objects_that_cannot_be_read_together_are_read_one_by_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = publish(think())
    runs = [create_flowrun(flow, Customer.objects.create(name=name)) for name in "ab"]
    source = ObjectSource(runs)
    once = Once(models.QuerySet.filter, InterfaceError("connection already closed"))

    def fail_once(*args: Any, **keys: Any) -> Any:
        return once(*args, **keys)

    monkeypatch.setattr(models.QuerySet, "filter", fail_once)
    assert [source.get(run).name for run in runs] == ["a", "b"]


def test_object_is_fresh_after_each_checkpoint(lab: Lab) -> None:
    def change(run: Any, obj: Any) -> None:
        look(run, obj)
        Customer.objects.filter(pk=obj.pk).update(name="changed")

    lab.on("change", change)
    lab.on("look", look)
    run = create_flowrun(
        publish(think("look"), send("change"), think("look")), Customer.objects.create(name="Ada")
    )
    sweep()
    assert fresh(run).state == {"names": ["Ada", "Ada", "changed"]}


def test_database_step_reads_its_object_in_its_own_transaction(lab: Lab) -> None:
    """Not the one that was read for all runs of the claim, some time before."""
    lab.on("look", look)
    lab.on("rename", rename)
    ada, eve = Customer.objects.create(name="Ada"), Customer.objects.create(name="Eve")
    flow = publish(think("look"), write("rename"))
    for obj in (ada, eve, ada, eve):
        create_flowrun(flow, obj)
    sweep()
    assert sorted(Customer.objects.values_list("name", flat=True)) == ["Ada!!", "Eve!!"]


def test_what_one_run_does_to_its_object_in_memory_is_not_seen_by_another(lab: Lab) -> None:
    def spoil(run: Any, obj: Any) -> None:
        look(run, obj)
        obj.name = "spoiled"

    lab.on("spoil", spoil)
    flow = publish(think("spoil"))
    ada = Customer.objects.create(name="Ada")
    runs = [create_flowrun(flow, obj) for obj in (ada, Customer.objects.create(name="Eve"), ada)]
    sweep()
    assert [fresh(run).state["names"] for run in runs] == [["Ada"], ["Eve"], ["Ada"]]


def test_failed_database_step_leaves_no_trace_in_the_object_of_the_next_try(lab: Lab) -> None:
    from flowcontrol.errors import Retry

    def work(run: Any, obj: Any) -> None:
        rename(run, obj)
        if run.attempt == 1:
            raise Retry(after=0)

    lab.on("work", work)
    create_flowrun(publish(write("work")), Customer.objects.create(name="Ada"))
    sweep()
    assert Customer.objects.get().name == "Ada!"


@pytest.mark.parametrize(
    "make", [lambda: Voucher.objects.create(code="aBc "), Parcel.objects.create]
)
def test_objects_may_have_any_kind_of_key(lab: Lab, make: Any) -> None:
    obj = make()
    lab.on("look", lambda run, found: run.state.update(key=str(found.pk)))
    flow = publish(think("look"), write("look"))
    runs = [create_flowrun(flow, obj), create_flowrun(flow, make_other(obj))]
    sweep()
    assert fresh(runs[0]).state == {"key": str(obj.pk)}
    assert fresh(runs[1]).outcome == "complete"


def make_other(obj: Any) -> Any:
    return (
        Voucher.objects.create(code="other")
        if isinstance(obj, Voucher)
        else type(obj).objects.create()
    )


@pytest.mark.django_db(transaction=True)
def test_object_can_be_locked_in_a_database_step_only(lab: Lab) -> None:
    lab.on("lock", lambda run, obj: run.state.update(name=run.lock_object().name))
    ada = Customer.objects.create(name="Ada")
    run = create_flowrun(publish(write("lock"), key="a"), ada)
    other = create_flowrun(publish(send("lock"), key="b"), ada)
    sweep()
    assert fresh(run).state == {"name": "Ada"}
    assert "Effects.DATABASE only" in fresh(other).reason


@pytest.mark.django_db(transaction=True)
def test_object_whose_manager_joins_what_may_be_missing_can_be_locked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Joining(models.Manager[Parcel]):
        def get_queryset(self) -> models.QuerySet[Parcel]:
            return super().get_queryset().select_related("order")

    manager = Joining()
    manager.model = Parcel
    monkeypatch.setitem(vars(Parcel._meta), "base_manager", manager)
    lab.on("lock", lambda run, obj: run.state.update(grams=run.lock_object().weight_grams))
    run = create_flowrun(publish(write("lock")), Parcel.objects.create(weight_grams=5))
    sweep()
    assert fresh(run).state == {"grams": 5}
