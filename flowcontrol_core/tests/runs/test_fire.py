"""SkippedFiring a trigger: which runs it creates, and which flow triggers do nothing, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone, translation

from flowcontrol.engine import create_flowrun, trigger_flows
from flowcontrol.errors import UnknownTriggerError
from flowcontrol.registry import Registry, Trigger
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.flows.flow_triggers import associate_trigger, change_trigger
from flowcontrol_core.flows.lifecycle import deactivate
from flowcontrol_core.models import (
    FlowRun,
    FlowTrigger,
    LimitPolicy,
    SkippedFiring,
    Status,
    TriggerEvent,
)
from flowcontrol_core.runs.triggers import match
from tests.shop.models import Customer

from .conftest import PAID, Lab, fresh, publish, sweep, think, write
from .listeners import KEY, listener, refusals

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lab")]


@pytest.fixture
def ada() -> Customer:
    return Customer.objects.create(name="Ada")


def test_run_gets_object_payload_and_trigger(ada: Customer) -> None:
    listener()
    (run,) = trigger_flows(KEY, ada, {"amount": 5})
    run = fresh(run)
    assert (run.object_key, run.object_text) == (str(ada.pk), "Ada")
    assert (run.payload, run.trigger, run.status) == ({"amount": 5}, KEY, Status.PENDING)


def test_calling_a_trigger_fires_it(ada: Customer) -> None:
    listener()
    PAID(ada)
    PAID.fire(ada)
    assert FlowRun.objects.count() == 2


def test_one_trigger_can_be_associated_with_a_flow_more_than_once(ada: Customer) -> None:
    first = listener(condition="payload.amount > 10")
    listener(flow=first.flow, condition="payload.amount > 20")
    assert len(trigger_flows(KEY, ada, {"amount": 15})) == 1
    assert len(trigger_flows(KEY, ada, {"amount": 25})) == 2


def test_runs_do_not_share_their_payload(ada: Customer) -> None:
    listener("a")
    listener("b")
    given = {"items": [1]}
    first, second = trigger_flows(KEY, ada, given)
    first.payload["items"].append(2)
    given["items"].append(3)
    assert second.payload == {"items": [1]}


def test_unknown_trigger_is_an_error_by_key() -> None:
    with pytest.raises(UnknownTriggerError):
        trigger_flows("lab.unknown")


def test_condition_sees_object_and_payload(ada: Customer) -> None:
    listener(condition="object.name == 'Ada' and payload.amount > 10")
    assert not trigger_flows(KEY, ada, {"amount": 10})
    assert refusals() == ["condition"]
    assert len(trigger_flows(KEY, ada, {"amount": 11})) == 1


def test_failing_condition_does_not_hide_the_others(ada: Customer) -> None:
    listener("before")
    broken = listener("broken")
    listener("after")
    FlowTrigger.objects.filter(pk=broken.pk).update(condition="object.name >")
    assert [run.flow.key for run in trigger_flows(KEY, ada)] == ["before", "after"]
    refused = SkippedFiring.objects.get()
    assert (refused.flow_trigger, refused.reason) == (broken, "error")
    assert "ExpressionError" in refused.detail


def test_condition_with_an_error_of_the_database_does_not_hide_the_others(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in_the_database(monkeypatch, "object.name == 'broken'")
    listener("before", condition="object.name == 'Ada'")
    broken = listener("broken", condition="object.name == 'broken'")
    listener("after", condition="object.name == 'Ada'")
    with transaction.atomic():
        runs = trigger_flows(KEY, ada, unique_key="once")
        assert Customer.objects.count() == 1
    assert [run.flow.key for run in runs] == ["before", "after"]
    refused = SkippedFiring.objects.get()
    assert (refused.flow_trigger, refused.reason) == (broken, "error")
    assert TriggerEvent.objects.count() == 1


def fail_in_the_database(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let one condition do a query that the database refuses."""
    compile_condition = match._compiled

    def condition(given: str) -> Any:
        if given == text:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")
        return compile_condition(given)

    monkeypatch.setattr(match, "_compiled", condition)


def test_condition_means_the_same_whatever_language_and_zone_the_user_has(
    ada: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str | None, str]] = []
    compile_condition = match._compiled

    def condition(given: str) -> Any:
        seen.append((translation.get_language(), timezone.get_current_timezone_name()))
        return compile_condition(given)

    monkeypatch.setattr(match, "_compiled", condition)
    listener(condition="object.name")
    with translation.override("de"), timezone.override("Asia/Kolkata"):
        trigger_flows(KEY, ada)
    assert seen == [(None, "UTC")]


@pytest.fixture
def register(lab: Lab) -> Iterator[Callable[..., Registry]]:
    before = registry.snapshot()

    def register(**options: Any) -> Registry:
        registry.restore(before)
        registry.add_trigger(Trigger(name="own", label="Own", **options), plugin="lab")
        return registry

    yield register
    registry.restore(before)


def test_trigger_itself_can_refuse_and_so_quietly(
    ada: Customer, register: Callable[..., Registry]
) -> None:
    def accepts(config: BoundConfig, obj: Any, payload: Any) -> bool:
        return bool(obj.name == "Ada" and payload["amount"] > 10)

    register(accepts=accepts)
    associate_trigger(publish(think()), "lab.own")
    assert not trigger_flows("lab.own", ada, {"amount": 1})
    assert len(trigger_flows("lab.own", ada, {"amount": 11})) == 1
    assert refusals() == []


def test_trigger_whose_check_fails_concerns_that_flow_trigger_only(
    ada: Customer, register: Callable[..., Registry]
) -> None:
    def accepts(config: BoundConfig, obj: Any, payload: Any) -> bool:
        if next(calls) == 2:
            raise ValueError("broken")
        return True

    calls = iter([1, 2, 3])
    register(accepts=accepts)
    for key in ("a", "b", "c"):
        associate_trigger(publish(think(), key=key), "lab.own")
    assert [run.flow.key for run in trigger_flows("lab.own", ada)] == ["a", "c"]
    assert refusals() == ["error"]


def test_inactive_flow_starts_no_run(ada: Customer) -> None:
    deactivate(listener().flow)
    assert not trigger_flows(KEY, ada)
    assert refusals() == ["inactive"]


def test_flow_that_is_not_published_starts_no_run(ada: Customer) -> None:
    flow = listener().flow
    flow.published = None
    flow.save(update_fields=["published"])
    trigger_flows(KEY, ada)
    assert refusals() == ["unpublished"]


def test_object_of_another_type_starts_no_run(ada: Customer) -> None:
    listener(flow=publish(think(), object="shop.order"))
    trigger_flows(KEY, ada)
    assert refusals() == ["object"]
    assert SkippedFiring.objects.get().object_text == "Ada"


def test_flow_trigger_that_is_switched_off_is_not_asked(ada: Customer) -> None:
    change_trigger(listener(), active=False)
    assert not trigger_flows(KEY, ada)
    assert refusals() == []


@pytest.mark.parametrize("limit", ["max_concurrent_per_object", "max_concurrent", "max_per_object"])
def test_reached_limit_spares_the_row(ada: Customer, limit: str, lab: Lab) -> None:
    lab.on("wait", lambda run, obj: run.suspend(until=run.now.replace(year=2030)))
    limits: dict[str, Any] = {limit: 1}
    association = listener(flow=publish(think("wait"), **limits))
    run = create_flowrun(association.flow, ada)
    sweep()
    assert not trigger_flows(KEY, ada)
    refused = SkippedFiring.objects.get()
    assert (refused.reason, refused.detail) == ("limit", limit)
    assert list(FlowRun.objects.all()) == [run]


@pytest.mark.parametrize("policy", [LimitPolicy.QUEUE, LimitPolicy.REPLACE])
def test_other_policies_leave_the_limit_to_the_claim(ada: Customer, policy: str) -> None:
    association = listener(max_concurrent_per_object=1, max_concurrent_per_object_policy=policy)
    create_flowrun(association.flow, ada)
    assert len(trigger_flows(KEY, ada)) == 1
    assert refusals() == []


def test_limit_of_one_object_does_not_count_for_another(ada: Customer) -> None:
    association = listener(max_concurrent_per_object=1)
    create_flowrun(association.flow, ada)
    assert len(trigger_flows(KEY, Customer.objects.create(name="Bob"))) == 1


def test_limit_of_one_flow_does_not_count_for_another(ada: Customer) -> None:
    create_flowrun(listener("full", max_concurrent_per_object=1).flow, ada)
    listener("free", max_concurrent_per_object=1)
    assert [run.flow.key for run in trigger_flows(KEY, ada)] == ["free"]


def test_more_flows_than_the_fan_out_allows_are_refused_visibly(
    ada: Customer, settings: Any
) -> None:
    for number in range(3):
        listener(f"flow-{number}")
    settings.FLOWCONTROL = {"MAX_FAN_OUT": 2}
    assert len(trigger_flows(KEY, ada)) == 2
    assert refusals() == ["fan_out"]


def fire(times: int) -> Callable[..., None]:
    """Return the behaviour of a step that fires."""

    def fire(run: Any, obj: Any) -> None:
        for _ in range(times):
            PAID.fire()

    return fire


def test_one_run_cannot_start_more_than_the_fan_out_through_triggers(
    settings: Any, lab: Lab
) -> None:
    settings.FLOWCONTROL = {"MAX_FAN_OUT": 2}
    listener("listener")
    lab.on("loud", fire(times=5))
    create_flowrun(publish(write("loud"), key="loud"))
    sweep()
    assert FlowRun.objects.filter(trigger=KEY).count() == 2
    assert refusals() == ["fan_out"] * 3


def test_flow_that_fires_its_own_trigger_comes_to_an_end(settings: Any, lab: Lab) -> None:
    settings.FLOWCONTROL = {"MAX_DEPTH": 3}
    lab.on("echo", fire(times=1))
    listener(flow=publish(write("echo")))
    trigger_flows(KEY)
    while sweep():
        pass
    assert sorted(FlowRun.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    assert refusals() == ["depth"]
