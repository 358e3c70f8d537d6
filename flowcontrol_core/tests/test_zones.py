"""What a flow computes is computed in its time zone, in memory as with a database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.test import override_settings
from django.utils import timezone

from flowcontrol.base import BaseAction, Effects
from flowcontrol.errors import UnknownZoneError
from flowcontrol.flows import check_document, step_form, summarize_step
from flowcontrol.forms import ExpressionField, TemplateField
from flowcontrol.testing import flow, run_flow, step, temporary_registry
from flowcontrol_core.zones import find_zone, in_zone

#: Winter: 13:00 in Berlin, 07:00 in New York, 21:00 in Tokyo.
NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Tell(BaseAction):
    name = "tell"
    effects = Effects.NONE

    class Config(forms.Form):
        text = TemplateField(required=False)
        value = ExpressionField(required=False)

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        run.state["text"], run.state["value"] = config.text, config.value

    def summary(self, config: Any) -> str:
        return f"Tells it at {timezone.localtime(NOON):%H:%M}"

    def check(self, config: Any) -> list[str]:
        return [f"It is {timezone.localtime(NOON):%H:%M}"]


@pytest.fixture(autouse=True)
def in_new_york() -> Iterator[None]:
    with override_settings(TIME_ZONE="America/New_York"), temporary_registry(Tell):
        yield


def tell(**config: Any) -> Any:
    return step("test.tell", **config)


def told(zone: str | None, **config: Any) -> Any:
    document = flow(tell(**config), time_zone=zone)
    return run_flow(document, state={"when": NOON}, now=NOON).state


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/Berlin", "13:00"), ("Asia/Tokyo", "21:00"), (None, "07:00")]
)
def test_a_time_is_shown_on_the_clock_of_the_flow(zone: str | None, shown: str) -> None:
    assert told(zone, text="{{ when|date:'H:i' }}")["text"] == shown
    assert told(zone, text="{% now 'H:i' %}")["text"] == shown
    assert told(zone, text="{{ when }}")["text"][11:16] == shown


def test_a_condition_and_parts_of_times_are_of_the_zone_of_the_flow() -> None:
    assert told("Asia/Tokyo", value="now|date:'H' == '21'")["value"] is True
    assert told("Asia/Tokyo", value="when.hour")["value"] == 21
    assert told(None, value="when.hour")["value"] == 7


def test_the_guard_is_checked_in_the_zone_of_the_flow() -> None:
    for guard, outcome in (("when.hour == 21", "complete"), ("when.hour == 7", "obsolete")):
        document = flow(tell(), time_zone="Asia/Tokyo", guard=guard)
        assert run_flow(document, state={"when": NOON}, now=NOON).outcome == outcome


def test_whoever_is_logged_in_and_wherever_does_not_matter_and_is_put_back() -> None:
    with timezone.override("Australia/Sydney"):
        assert told("Europe/Berlin", text="{{ when|date:'H:i' }}")["text"] == "13:00"
        assert told(None, text="{{ when|date:'H:i' }}")["text"] == "07:00"
        assert timezone.get_current_timezone_name() == "Australia/Sydney"


def test_what_an_action_says_about_a_step_is_said_in_the_zone_of_the_flow() -> None:
    document = flow(tell(text="x"), time_zone="Asia/Tokyo")
    with timezone.override("Australia/Sydney"):
        assert summarize_step(document.steps[0], document) == "Tells it at 21:00"


@pytest.mark.django_db
def test_what_an_action_checks_is_checked_in_the_zone_of_the_flow() -> None:
    document = flow(tell(text="x"), time_zone="Asia/Tokyo")
    assert [problem.message for problem in check_document(document)] == ["It is 21:00"]


def test_a_zone_that_is_in_force_already_is_not_put_in_force_again() -> None:
    site = timezone.get_current_timezone()
    assert find_zone(None) is site
    assert in_zone(site) is in_zone(find_zone("America/New_York"))
    with in_zone(ZoneInfo("Asia/Tokyo")), in_zone(site):
        assert timezone.get_current_timezone() is site


@pytest.mark.parametrize("name", ["Mars/Olympus", "Europe", "x" * 100])
def test_an_unknown_zone_is_named_with_the_remedy(name: str) -> None:
    with pytest.raises(UnknownZoneError, match=r"not known on this machine. Install its data"):
        find_zone(name)
    with pytest.raises(UnknownZoneError):
        run_flow(flow(tell(), time_zone=name))


@pytest.mark.django_db
def test_an_unknown_zone_is_a_problem_of_the_document_and_its_steps_are_checked_all_the_same() -> (
    None
):
    document = flow(tell(text="x"), step("test.tell", value="1 +"), time_zone="Mars/Olympus")
    problems = check_document(document)
    assert [problem.field for problem in problems] == ["time_zone", "", "value"]


def test_a_form_whose_times_cannot_be_told_says_why_it_is_not_shown() -> None:
    document = flow(tell(text="x"), time_zone="Mars/Olympus")
    shown = step_form(document.steps[0], document=document)
    assert shown.form is None
    assert "Mars/Olympus" in shown.reason
