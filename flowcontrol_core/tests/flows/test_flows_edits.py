"""The operations of the editor: what they do, and what they report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone, translation

from flowcontrol import flows
from flowcontrol_core.document.tree import Place, RetryPolicy, Step
from flowcontrol_core.errors import DocumentError, EditError, StaleRevisionError, UnknownActionError
from flowcontrol_core.models import Flow
from tests.shop.models import Customer

from .conftest import choose, document, greet, step

pytestmark = pytest.mark.django_db

TOP = Place(index=0)


def make(*steps: dict[str, Any], **options: Any) -> Flow:
    return flows.create_flow(key="welcome", name="Welcome", document=document(*steps, **options))


def found(flow: Flow, step_id: str) -> Step:
    step_found = flows.present_document(flow).find(step_id)
    assert step_found is not None
    return step_found


def ids(flow: Flow) -> tuple[str, ...]:
    return flows.present_document(flow).step_ids()


def form_of(flow: Flow, step_id: str, **typed: Any) -> Any:
    shown = flows.present_document(flow)
    data = {f"step-{step_id}-{name}": value for name, value in typed.items()} or None
    return flows.step_form(found(flow, step_id), data, document=shown).form


def test_added_step_has_the_defaults_of_its_form(author: User) -> None:
    flow = make()
    edit = flows.add_step(flow, "test.greet", TOP, revision=1, author=author)
    added = found(flow, edit.step)
    assert (added.config, added.config_version) == ({"times": 3}, 2)
    assert (edit.message, edit.version.revision, edit.changed) == ("Added “Greet”.", 2, True)


def test_form_of_an_added_step_shows_defaults_and_no_error() -> None:
    flow = make()
    edit = flows.add_step(flow, "test.greet", TOP, revision=1)
    form = form_of(flow, edit.step)
    assert (form.is_bound, form["times"].value(), form.errors) == (False, 3, {})
    assert "errorlist" not in form.as_p()


def test_form_of_a_step_without_configuration_shows_its_own_initials() -> None:
    first = Step(id="aaaa", action="test.greet", config_version=1)
    # The upgrade of version 1 needs a value that is not there.
    assert flows.step_form(first, document=document()).form is None
    newest = Step(id="aaaa", action="test.greet")
    form = flows.step_form(newest, document=document()).form
    assert form is not None
    assert form["times"].value() == 3


def test_step_of_an_unknown_action_is_not_added() -> None:
    flow = make()
    with pytest.raises(UnknownActionError, match="plugin 'gone'"):
        flows.add_step(flow, "gone.greet", TOP, revision=None)


def test_step_is_added_into_offered_branches_only() -> None:
    flow = make(choose("aaaa"), greet("bbbb"))
    into = Place(parent="aaaa", branch="else", index=0)
    flows.add_step(flow, "test.greet", into, revision=None)
    assert len(found(flow, "aaaa").branches["else"]) == 1
    with pytest.raises(EditError, match="no branch 'body'; possible: then, else"):
        flows.add_step(
            flow, "test.greet", Place(parent="aaaa", branch="body", index=0), revision=None
        )
    with pytest.raises(EditError, match="takes no steps inside"):
        flows.move_step(flow, "aaaa", Place(parent="bbbb", branch="then", index=0), revision=None)


def test_typed_values_are_stored_and_shown_again() -> None:
    flow = make(greet("aaaa"))
    form = form_of(flow, "aaaa", text="Hi {{ object.name }}", times="2")
    edit = flows.configure_step(flow, "aaaa", form, revision=1)
    assert edit.message == "Saved “Greet”."
    assert found(flow, "aaaa").config["times"] == 2
    assert form_of(flow, "aaaa")["text"].value() == "Hi {{ object.name }}"


def test_form_with_errors_stores_nothing() -> None:
    flow = make(greet("aaaa"))
    form = form_of(flow, "aaaa", text="{{ object.name", times="0")
    with pytest.raises(EditError, match=r"times: .*greater than or equal to 1"):
        flows.configure_step(flow, "aaaa", form, revision=1)
    with pytest.raises(EditError, match="it was not sent"):
        flows.configure_step(flow, "aaaa", form_of(flow, "aaaa"), revision=1)
    assert flows.present_revision(flow) == 1


def test_checked_form_of_a_step_with_a_problem_stores_nothing() -> None:
    flow = make(greet("aaaa"), greet("bbbb", times=0), object="shop.customer")
    wrong = form_of(flow, "aaaa", text="{{ object.nam }}", times="2")
    with pytest.raises(DocumentError) as caught:
        flows.configure_step(flow, "aaaa", wrong, revision=1, check=True)
    assert [(problem.step, problem.field) for problem in caught.value.problems] == [
        ("aaaa", "text")
    ]
    assert flows.present_revision(flow) == 1
    # Without the check it is stored; and the problem of another step is not its own.
    flows.configure_step(flow, "aaaa", wrong, revision=1)
    right = form_of(flow, "aaaa", text="{{ object.name }}", times="2")
    assert flows.configure_step(flow, "aaaa", right, revision=2, check=True).changed


def test_form_has_the_prefix_that_was_asked_for() -> None:
    flow = make(greet("aaaa"))
    shown = flows.present_document(flow)
    form = flows.step_form(found(flow, "aaaa"), {"x-times": "7"}, document=shown, prefix="x").form
    assert form is not None
    assert (form["times"].html_name, form["times"].value()) == ("x-times", "7")


def test_form_of_another_action_is_refused() -> None:
    flow = make(greet("aaaa"), choose("bbbb"))
    form = form_of(flow, "bbbb", condition="state.ok")
    with pytest.raises(EditError, match="does not belong"):
        flows.configure_step(flow, "aaaa", form, revision=None)


def test_times_are_those_of_the_flow_whatever_the_zone_of_the_editor() -> None:
    flow = make(greet("aaaa"), time_zone="Europe/Berlin")
    with timezone.override("America/New_York"), translation.override("de"):
        form = form_of(flow, "aaaa", text="Hi", times="1", when="2030-07-01 09:00")
        flows.configure_step(flow, "aaaa", form, revision=None)
        shown = form_of(flow, "aaaa")["when"].as_widget()
    stored = datetime.fromisoformat(found(flow, "aaaa").config["when"])
    assert stored == datetime(2030, 7, 1, 7, 0, tzinfo=UTC)
    assert "09:00" in shown


def test_form_of_an_older_configuration_shows_it_upgraded() -> None:
    old = step("aaaa", "greet", config={"message": "Hello", "times": 1}, config_version=1)
    flow = make(old)
    form = form_of(flow, "aaaa")
    assert form["text"].value() == "Hello"


def test_step_of_a_missing_action_has_no_form_and_can_be_edited_otherwise() -> None:
    flow = make({"id": "aaaa", "action": "gone.thing", "config": {"x": 1}}, greet("bbbb"))
    missing = found(flow, "aaaa")
    bound = flows.step_form(missing, document=document())
    assert bound.form is None
    assert bound.reason == flows.why_no_form(missing)
    assert "plugin 'gone'" in bound.reason
    flows.shift_step(flow, "aaaa", 1, revision=None)
    flows.set_disabled(flow, "aaaa", disabled=True, revision=None)
    copy = flows.duplicate_step(flow, "aaaa", revision=None).step
    assert found(flow, copy).config == {"x": 1}
    edit = flows.delete_step(flow, "aaaa", revision=None)
    assert edit.message == "Deleted “gone.thing”."
    assert ids(flow) == ("bbbb", copy)


def test_step_of_a_newer_plugin_has_no_form_that_could_lose_something() -> None:
    newer = found(make(step("aaaa", "greet", config_version=9)), "aaaa")
    bound = flows.step_form(newer, document=document())
    assert bound.form is None
    assert "Upgrade its plugin" in bound.reason
    assert flows.why_no_form(found(make_other(), "aaaa")) == ""


def make_other() -> Flow:
    return flows.create_flow(key="other", name="Other", document=document(greet("aaaa")))


def test_moved_step_takes_along_what_is_inside() -> None:
    flow = make(choose("aaaa", then=[greet("bbbb")]), greet("cccc"))
    edit = flows.move_step(flow, "aaaa", Place(index=1), revision=1)
    assert (edit.message, edit.changed) == ("Moved “If”.", True)
    assert ids(flow) == ("cccc", "aaaa", "bbbb")


def test_move_that_does_nothing_does_not_claim_success() -> None:
    flow = make(greet("aaaa"), greet("bbbb"))
    edit = flows.move_step(flow, "aaaa", TOP, revision=1)
    assert not edit.changed
    assert "nothing was moved" in edit.message
    assert flows.present_revision(flow) == 1


def test_step_is_not_moved_into_itself() -> None:
    flow = make(choose("aaaa"))
    with pytest.raises(EditError, match="into itself"):
        flows.move_step(flow, "aaaa", Place(parent="aaaa", branch="then", index=0), revision=None)


def test_shift_stops_at_the_end_of_the_list() -> None:
    flow = make(greet("aaaa"), greet("bbbb"))
    assert flows.shift_step(flow, "bbbb", -1, revision=1).message == "Moved “Greet” up."
    with pytest.raises(EditError, match="already the first"):
        flows.shift_step(flow, "bbbb", -1, revision=2)


def test_places_are_those_of_branches_that_actions_offer() -> None:
    content = document(choose("aaaa"), greet("bbbb"))
    assert {place.branch for place in flows.places(content)} == {None, "then", "else"}
    assert Place(parent="aaaa", branch="then", index=0) not in flows.places(content, moving="aaaa")


def test_duplicate_keeps_the_configuration_of_everything_inside() -> None:
    flow = make(choose("aaaa", then=[greet("bbbb", times=7)]))
    edit = flows.duplicate_step(flow, "aaaa", revision=1)
    copy = found(flow, edit.step)
    assert edit.message == "Duplicated “If” and the steps inside it (2 steps)."
    assert copy.branches["then"][0].config["times"] == 7
    assert copy.branches["then"][0].id != "bbbb"


def test_deleting_a_container_says_how_many_steps_are_gone() -> None:
    flow = make(choose("aaaa", then=[greet("bbbb"), greet("cccc")], **{"else": [greet("dddd")]}))
    message = flows.delete_step(flow, "aaaa", revision=1).message
    assert message == "Deleted “If” and the steps inside it (4 steps)."
    assert ids(flow) == ()


def test_disabling_twice_says_so() -> None:
    flow = make(greet("aaaa"))
    first = flows.set_disabled(flow, "aaaa", disabled=True, revision=1)
    again = flows.set_disabled(flow, "aaaa", disabled=True, revision=2)
    assert (first.changed, again.changed) == (True, False)
    assert again.message == "The step is disabled already."
    assert found(flow, "aaaa").disabled


def test_note_policy_and_settings_are_stored() -> None:
    flow = make(greet("aaaa"))
    flows.annotate_step(flow, "aaaa", "why", revision=1)
    retry = RetryPolicy(attempts=3)
    flows.set_policy(flow, "aaaa", retry=retry, timeout=20, if_unknown="fail", revision=2)
    edit = flows.set_options(
        flow, object="shop.order", guard="object.total", time_zone="Europe/Berlin", revision=3
    )
    stored = found(flow, "aaaa")
    assert (stored.note, stored.retry, stored.timeout) == ("why", retry, 20)
    assert stored.if_unknown == "fail"
    assert flows.present_document(flow).object == "shop.order"
    assert edit.version.revision == 4


UNKNOWN_STEP = {
    "move": lambda flow: flows.move_step(flow, "gone", TOP, revision=None),
    "shift": lambda flow: flows.shift_step(flow, "gone", 1, revision=None),
    "duplicate": lambda flow: flows.duplicate_step(flow, "gone", revision=None),
    "delete": lambda flow: flows.delete_step(flow, "gone", revision=None),
    "disable": lambda flow: flows.set_disabled(flow, "gone", disabled=True, revision=None),
    "annotate": lambda flow: flows.annotate_step(flow, "gone", "x", revision=None),
    "policy": lambda flow: flows.set_policy(
        flow, "gone", retry=None, timeout=None, if_unknown="repeat", revision=None
    ),
    "add": lambda flow: flows.add_step(
        flow, "test.greet", Place(parent="gone", branch="then", index=0), revision=None
    ),
    "configure": lambda flow: flows.configure_step(
        flow, "gone", form_of(flow, "aaaa", text="x", times="1"), revision=None
    ),
}


@pytest.mark.parametrize("operation", UNKNOWN_STEP)
def test_unknown_step_is_a_clear_error(operation: str) -> None:
    flow = make(greet("aaaa"))
    with pytest.raises(EditError, match="no step 'gone'"):
        UNKNOWN_STEP[operation](flow)
    assert flows.present_revision(flow) == 1


def test_edit_of_an_old_revision_is_refused() -> None:
    flow = make(greet("aaaa"))
    flows.annotate_step(flow, "aaaa", "why", revision=1)
    with pytest.raises(StaleRevisionError, match="revision 2"):
        flows.delete_step(flow, "aaaa", revision=1)
    assert ids(flow) == ("aaaa",)


def test_reference_is_stored_and_shown_again() -> None:
    customer = Customer.objects.create(name="Ada")
    flow = make(greet("aaaa"))
    form = form_of(flow, "aaaa", text="Hi", times="1", customer=str(customer.pk))
    flows.configure_step(flow, "aaaa", form, revision=None)
    assert f'value="{customer.pk}" selected' in form_of(flow, "aaaa")["customer"].as_widget()
