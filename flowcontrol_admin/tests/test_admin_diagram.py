"""The diagram of a flow, of a run, and of what changed between two versions."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.test import Client
from django.utils.translation import override

import flowcontrol_admin
from flowcontrol.engine import create_flowrun
from flowcontrol.flows import edit_draft, get_document
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import flow as build
from flowcontrol.testing import publish_flow, run_due, step
from flowcontrol_admin.diagram import draw, draw_difference
from flowcontrol_admin.diagram.overlay import DIFF_MARKS, RUN_MARKS
from flowcontrol_admin.run_head import STATUSES
from flowcontrol_admin.run_track import EVENT_ICONS

from .conftest import logged_in, make_user, sample, text_of, url

pytestmark = pytest.mark.django_db
SVG = "{http://www.w3.org/2000/svg}"


def tree_of(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def nodes(svg: str) -> dict[str, set[str]]:
    """Return the classes of each box by what it is called."""
    found = tree_of(svg).iter()
    return {
        str(one.findtext(f"{SVG}title")): set(one.get("class", "").split())
        for one in found
        if "fc-n" in one.get("class", "").split()
    }


def diagram_of(client: Client, run: FlowRun) -> str:
    response = client.get(url("flowrun_diagram", run.pk))
    assert response.status_code == 200
    return str(response.context["diagram"])


def test_a_diagram_has_a_name_links_and_no_style_of_its_own() -> None:
    svg = draw(sample(), link=lambda step_id: f"/steps/{step_id}?a=1&b=2")
    root = tree_of(svg)
    assert (root.get("role"), root.get("aria-label")) == ("group", "Diagram of the flow")
    links = [one.get("href") for one in root.iter(f"{SVG}a")]
    assert links == [f"/steps/{name}?a=1&b=2" for name in ("hello", "fork", "wait", "bye")]
    assert not [one for one in root.iter() if one.get("style") or one.tag == f"{SVG}style"]
    assert [name.partition(",")[0] for name in nodes(svg)] == ["Greet", "If", "Wait", "Greet"]


def test_what_an_author_wrote_is_escaped_in_a_diagram() -> None:
    text = "<script>alert('&')</script>\""
    svg = draw(build(step("test.greet", times=1, id="a", text=text)), start=text)
    assert "<script" not in svg
    titles = [one.text for one in tree_of(svg).iter(f"{SVG}title")]
    assert titles == [f"Greet, Says {text}"]


def test_a_flow_without_steps_and_one_with_a_missing_action_are_drawn() -> None:
    assert "fc-pin" in draw(build())
    missing = step("gone.away", id="a", branches_too=[step("test.greet", times=1, text="x")])
    assert tree_of(draw(build(missing))) is not None


def test_a_diagram_is_mirrored_for_languages_from_right_to_left() -> None:
    def boxes(svg: str) -> list[int]:
        found = tree_of(svg).iter(f"{SVG}rect")
        return [int(one.get("x", "")) for one in found if one.get("class") == "fc-nb"]

    document = sample()
    plain = draw(document)
    with override("ar"):
        mirrored = draw(document)
    width = int(tree_of(plain).get("width", ""))
    assert tree_of(mirrored).get("direction") == "rtl"
    assert boxes(mirrored) == [width - x - 196 for x in boxes(plain)]


def test_the_page_of_a_flow_shows_its_diagram_to_who_may_view_it(live: Flow, draft: Flow) -> None:
    client = logged_in(make_user("a", "view_flow"))
    for flow in (live, draft):
        response = client.get(url("flow_diagram", flow.pk))
        assert f'href="{url("flow_editor", flow.pk)}#step-hello"' in response.content.decode()
        assert "The same steps as a list" in text_of(response)
    blind = logged_in(make_user("b", "view_flowrun"))
    assert blind.get(url("flow_diagram", live.pk)).status_code == 403


def test_a_run_is_drawn_over_its_flow(client: Client) -> None:
    run = create_flowrun(
        publish_flow(
            build(
                step("test.greet", times=1, id="a", text="first"),
                step("test.greet", times=1, id="off", text="second", disabled=True),
                step(
                    "test.choose",
                    id="if",
                    condition="True",
                    then=[step("test.wait", id="w")],
                    **{"else": [step("test.greet", times=1, id="b", text="third")]},
                ),
                step("test.greet", times=1, id="z", text="fourth"),
            ),
            key="drawn",
        )
    )
    run_due()
    found = nodes(diagram_of(client, run))
    marks = {
        name: {each for each in classes if each.startswith("is-")}
        for name, classes in found.items()
    }
    assert list(marks.values()) == [
        {"is-done"}, {"is-skipped"}, {"is-current"}, {"is-waiting"}, {"is-never"}, {"is-never"},
    ]  # fmt: skip
    names = list(found)
    assert names[0].endswith(": Done")
    assert names[3].endswith(": Waits here")
    svg = diagram_of(client, run)
    took = len(re.findall(r"fc-e[^\"]*fc-took", svg))
    # Into the first three steps, into the branch, and from its label to its first step.
    assert took == 5
    assert f'href="{url("flowrun_change", run.pk)}#a-1"' in svg
    assert "#z-1" not in svg


def test_a_failed_run_is_drawn_with_its_failure_and_its_passes(client: Client) -> None:
    fail = step("test.choose", id="if", condition="i == 3", then=[step("test.fail", id="oops")])
    loop = step("builtin.for", id="loop", end="9", variable="i", body=[fail])
    run = create_flowrun(publish_flow(build(loop), key="failing"))
    run_due()
    found = nodes(diagram_of(client, run))
    (failed,) = [name for name, classes in found.items() if "is-failed" in classes]
    assert failed.startswith("Fail")
    assert any(
        name.startswith("For loop") and name.endswith("4\N{MULTIPLICATION SIGN}") for name in found
    )


def test_a_difference_is_drawn_with_what_was_removed_in_its_place() -> None:
    def greet(name: str, **more: Any) -> Any:
        return step("test.greet", times=1, id=name, text=name, **more)

    inside = step("test.choose", id="old", condition="True", then=[greet("within")])
    before = build(greet("a"), greet("b"), inside, greet("c"), greet("d"))
    after = build(greet("d"), greet("a"), greet("c", note="new"), greet("e"))
    found = nodes(draw_difference(before, after))
    marks = [
        (name.partition("Says ")[2].partition(":")[0], min(classes & {
            "is-added", "is-removed", "is-changed", "is-moved",
        }, default=""))
        for name, classes in found.items()
    ]  # fmt: skip
    assert [name for name, _ in marks] == ["d", "a", "b", "", "within", "c", "e"]
    assert dict(marks) == {
        "d": "is-moved", "a": "", "b": "is-removed", "": "is-removed", "within": "is-removed",
        "c": "is-changed", "e": "is-added",
    }  # fmt: skip


def test_the_page_of_a_flow_shows_what_changed_since_a_version(client: Client, live: Flow) -> None:
    steps = get_document(live.published).steps
    edit_draft(live, lambda old: replace(old, steps=steps[1:]), revision=None, author=None)
    response = client.get(url("flow_diagram", live.pk), {"from": "1"})
    (removed,) = [
        name for name, classes in nodes(response.context["diagram"]).items()
        if "is-removed" in classes
    ]  # fmt: skip
    assert removed.startswith("Greet")
    for value in ("x", "99", "-1", ""):
        plain = client.get(url("flow_diagram", live.pk), {"from": value})
        assert "is-removed" not in plain.context["diagram"]


def test_every_icon_of_a_mark_and_of_a_status_is_in_the_sprite() -> None:
    sprite = Path(flowcontrol_admin.__file__).parent / "static" / "flowcontrol_admin/icons.svg"
    known = set(re.findall(r'id="([a-z]+)"', sprite.read_text()))
    used = {mark.icon for mark in (*RUN_MARKS.values(), *DIFF_MARKS.values())}
    used |= {icon for _status, icon in STATUSES.values()} | {*EVENT_ICONS.values()}
    used |= {"play", "flag", "more", "check", "person", "document", "warning"}
    assert used - known == set()
