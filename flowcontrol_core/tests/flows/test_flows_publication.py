"""Publishing, switching flows on and off, and associating triggers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flowcontrol import flows
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.document.edit import delete_step, set_options
from flowcontrol_core.document.format import digest
from flowcontrol_core.errors import (
    DocumentError,
    EditError,
    Problem,
    PublishError,
    StaleRevisionError,
    UnknownFlowError,
    UnknownTriggerError,
)
from flowcontrol_core.flows import drafts
from flowcontrol_core.models import Flow, FlowRun, FlowTrigger, FlowVersion, Mode

from .conftest import Greet, choose, document, greet, step

pytestmark = pytest.mark.django_db


def make(*steps: dict[str, Any], **options: Any) -> Flow:
    return flows.create_flow(key="welcome", name="Welcome", document=document(*steps, **options))


def edit_guard(flow: Flow, guard: str) -> FlowVersion:
    return flows.edit_draft(
        flow,
        lambda old: set_options(old, object=old.object, guard=guard, time_zone=None),
        revision=None,
        author=None,
    )


def test_published_draft_is_frozen(author: User, caplog: pytest.LogCaptureFixture) -> None:
    flow = make(greet("aaaa"))
    caplog.set_level(logging.INFO, "flowcontrol_core")
    version = flows.publish(flow, by=author, revision=1)
    flow.refresh_from_db()
    assert flow.published == version
    assert (version.draft_of, version.is_draft) == (None, False)
    assert version.digest == digest(version.document)
    assert "published by ada" in caplog.text
    assert not FlowVersion.objects.filter(draft_of=flow).exists()


def test_published_version_says_what_it_is_about_and_waits_for() -> None:
    waiting = [step(f"s{n}", "wait", config={"trigger": f"test.{n}"}) for n in ("paid", "noon")]
    silent = {**step("aaaa", "wait", config={"trigger": "test.abroad"}), "disabled": True}
    version = flows.publish(make(*waiting, silent, object="shop.order"))
    assert (version.object_type, version.waits_for) == ("shop.order", "test.noon\ntest.paid")


def test_draft_with_problems_is_not_published() -> None:
    flow = make(greet("aaaa", text=""))
    with pytest.raises(PublishError) as caught:
        flows.publish(flow)
    assert [problem.step for problem in caught.value.problems] == ["aaaa"]
    assert flows.present_problems(flow) == list(caught.value.problems)
    flow.refresh_from_db()
    assert flow.published is None


def test_draft_that_others_have_changed_is_not_published() -> None:
    flow = make(greet("aaaa"))
    edit_guard(flow, "state.ok")
    with pytest.raises(StaleRevisionError, match="an unknown author"):
        flows.publish(flow, revision=1)


def test_draft_that_is_changed_while_it_is_checked_is_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = make(greet("aaaa"))

    def change_meanwhile(*_: Any, **__: Any) -> tuple[list[Problem], flows.Inspection]:
        edit_guard(flow, "never ( checked")
        return [], flows.Inspection()

    monkeypatch.setattr("flowcontrol_core.flows.publication.inspect_document", change_meanwhile)
    with pytest.raises(StaleRevisionError):
        flows.publish(flow)
    assert not FlowVersion.objects.filter(published_at__isnull=False).exists()


def test_publishing_without_a_draft_is_refused() -> None:
    flow = make(greet("aaaa"))
    flows.publish(flow)
    with pytest.raises(PublishError, match="nothing to publish"):
        flows.publish(flow)


def test_unchanged_draft_is_not_published() -> None:
    flow = make(greet("aaaa"))
    flows.publish(flow)
    flows.open_draft(flow)
    assert flows.is_unchanged(flow)
    with pytest.raises(PublishError, match="no changes since"):
        flows.publish(flow)
    edit_guard(flow, "state.ok")
    assert not flows.is_unchanged(flow)


def test_flow_that_was_never_published_has_something_to_publish() -> None:
    assert not flows.is_unchanged(make())


def test_runs_in_flight_stay_on_their_version() -> None:
    flow = make(greet("aaaa"))
    first, now = flows.publish(flow), timezone.now()
    run = FlowRun.objects.create(flow=flow, version=first, created_at=now, since=now)
    edit_guard(flow, "state.ok")
    second = flows.publish(flow)
    run.refresh_from_db()
    assert (run.version, flow.published) == (first, second)


def test_difference_from_the_published_version() -> None:
    flow = make(greet("aaaa"), greet("bbbb"))
    assert len(flows.diff_with_published(flow).added) == 2
    flows.publish(flow)
    assert flows.diff_with_published(flow).is_empty
    flows.edit_draft(flow, lambda old: delete_step(old, "aaaa"), revision=None, author=None)
    assert [gone.step.id for gone in flows.diff_with_published(flow).removed] == ["aaaa"]


def test_unpublished_flow_is_not_activated() -> None:
    flow = make(greet("aaaa"))
    with pytest.raises(EditError, match="publish its draft first"):
        flows.activate(flow)
    flow.refresh_from_db()
    assert not flow.active


def test_switching_writes_one_column_each() -> None:
    flow = make(greet("aaaa"))
    flows.publish(flow)
    stale = Flow.objects.get(pk=flow.pk)
    flows.pause(flow)
    flows.activate(stale)
    flow.refresh_from_db()
    assert (flow.active, flow.paused) == (True, True)
    flows.resume(stale)
    flows.deactivate(flow)
    flow.refresh_from_db()
    assert (flow.active, flow.paused) == (False, False)


def test_flow_without_its_plugins_can_be_deactivated_and_deleted() -> None:
    flow = make({"id": "aaaa", "action": "gone.thing"})
    Flow.objects.filter(pk=flow.pk).update(active=True)
    flows.deactivate(flow)
    flow.delete()
    assert not FlowVersion.objects.exists()


def test_edit_of_a_flow_that_was_deleted_is_a_clear_error() -> None:
    flow = make(greet("aaaa"))
    Flow.objects.filter(pk=flow.pk).delete()
    with pytest.raises(UnknownFlowError, match="'welcome' was deleted"):
        edit_guard(flow, "state.ok")


def test_trigger_is_associated_any_number_of_times() -> None:
    flow = make(greet("aaaa"), object="shop.order")
    for condition in ("object.total > 1", "payload.shop"):
        flows.associate_trigger(flow, "test.paid", condition=condition)
    assert [found.mode for found in FlowTrigger.objects.filter(flow=flow)] == [Mode.START] * 2


WRONG_ASSOCIATIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown trigger": ("test.never", {}, "trigger"),
    "another model": ("test.paid", {}, "trigger"),
    "syntax": ("test.noon", {"condition": "object.name >"}, "condition"),
    "field": ("test.noon", {"condition": "object.nam"}, "condition"),
    "name": ("test.noon", {"condition": "nonsense"}, "condition"),
    "length": ("test.noon", {"condition": "1" * 1001}, "condition"),
    "mode": ("test.noon", {"mode": "sometimes"}, "mode"),
    "no target": ("test.noon", {"mode": Mode.GO_TO}, "step"),
    "gone target": ("test.noon", {"mode": Mode.GO_TO, "step": "gone"}, "step"),
    "target in a loop": ("test.noon", {"mode": Mode.GO_TO, "step": "cccc"}, "step"),
    "needless target": ("test.noon", {"step": "aaaa"}, "step"),
    "config": ("test.abroad", {"config": {"country": "Germany"}}, "country"),
    "unknown config": ("test.noon", {"config": {"country": "de"}}, "country"),
}


@pytest.mark.parametrize("case", WRONG_ASSOCIATIONS)
def test_wrong_association_is_refused_by_field(case: str) -> None:
    loop = step("bbbb", "loop", branches={"body": [choose("dddd", then=[greet("cccc")])]})
    flow = make(greet("aaaa"), loop, object="shop.customer")
    key, options, field = WRONG_ASSOCIATIONS[case]
    with pytest.raises(DocumentError) as caught:
        flows.associate_trigger(flow, key, **options)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert not FlowTrigger.objects.exists()


def test_configuration_of_a_trigger_comes_from_its_form() -> None:
    flow = make(greet("aaaa"))
    content = flows.present_document(flow)
    form = flows.trigger_form("test.abroad", None, {"trigger-country": "de"}, document=content)
    association = flows.associate_trigger(flow, "test.abroad", config=flows.stored_config(form))
    shown = flows.trigger_form("test.abroad", association.config, document=content)
    assert shown["country"].value() == "de"
    with pytest.raises(UnknownTriggerError):
        flows.trigger_form("test.never", document=content)


def test_association_is_changed_by_named_columns() -> None:
    flow = make(greet("aaaa"))
    association = flows.associate_trigger(flow, "test.noon")
    FlowTrigger.objects.update(active=False)
    flows.change_trigger(association, mode=Mode.GO_TO, step="aaaa")
    association.refresh_from_db()
    assert (association.mode, association.step, association.active) == ("go_to", "aaaa", False)
    with pytest.raises(DocumentError):
        flows.change_trigger(association, step="gone")
    with pytest.raises(DocumentError, match="flow: cannot be changed"):
        flows.change_trigger(association, flow=flow)


def test_association_without_its_plugin_can_be_switched_off_and_removed(
    actions: Registry,
) -> None:
    flow = make(greet("aaaa"))
    association = FlowTrigger.objects.create(flow=flow, trigger="gone.event")
    flows.change_trigger(association, active=False)
    with pytest.raises(DocumentError, match=r"gone\.event"):
        flows.change_trigger(association, active=True)
    flows.remove_trigger(association)
    assert not FlowTrigger.objects.exists()


def test_target_that_the_new_version_lost_stops_the_publication() -> None:
    flow = make(greet("aaaa"), greet("bbbb"))
    flows.publish(flow)
    association = flows.associate_trigger(flow, "test.noon", mode=Mode.GO_TO, step="aaaa")
    flows.delete_step(flow, "aaaa", revision=None)
    with pytest.raises(PublishError, match="no step 'aaaa'"):
        flows.publish(flow)
    flows.change_trigger(association, active=False)
    flows.publish(flow)


def test_target_that_a_loop_has_closed_around_stops_the_publication() -> None:
    flow = make(greet("aaaa"), step("bbbb", "loop"))
    flows.associate_trigger(flow, "test.noon", mode=Mode.GO_TO, step="aaaa")
    into_loop = flows.places(flows.present_document(flow), moving="aaaa")[1]
    assert into_loop.parent == "bbbb"
    flows.move_step(flow, "aaaa", into_loop, revision=None)
    with pytest.raises(PublishError, match="inside of a loop"):
        flows.publish(flow)


def test_trigger_of_another_model_stops_the_publication() -> None:
    flow = make(greet("aaaa"), object="shop.order")
    flows.associate_trigger(flow, "test.paid")
    flows.set_options(flow, object="shop.customer", guard="", time_zone=None, revision=None)
    with pytest.raises(PublishError, match=r"comes with objects of 'shop\.order'"):
        flows.publish(flow)


def stored_versions(flow: Flow) -> list[int | None]:
    version = FlowVersion.objects.filter(flow=flow).latest("number")
    return [entry.get("config_version") for entry in version.document["steps"]]


def test_step_without_a_config_version_has_the_present_one_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    present = {"text": "Hello", "times": 3}  # version 1 had other keys
    flow = make(step("aaaa", "greet", config=present))
    assert stored_versions(flow) == [2]
    version = flows.publish(flow)
    monkeypatch.setattr(Greet, "config_version", 3)
    assert drafts.get_document(version).steps[0].config_version == 2


def test_step_whose_plugin_came_after_the_draft_gets_its_version_when_it_is_published(
    actions: Registry,
) -> None:
    with actions.temporary():
        actions.remove({"test.greet"})
        flow = make(step("aaaa", "greet", config={"text": "Hello", "times": 3}))
        assert stored_versions(flow) == [None]
        with pytest.raises(PublishError):
            flows.publish(flow)
    flows.publish(flow)
    assert stored_versions(flow) == [2]
