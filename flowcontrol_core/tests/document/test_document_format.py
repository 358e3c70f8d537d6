"""Reading a document: what is accepted, and how everything else is named."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import available_timezones

import pytest

from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.document.reader import to_seconds
from flowcontrol_core.document.tree import Document, RetryPolicy, Step
from flowcontrol_core.errors import DocumentError, Problem
from tests.cases import each


def document_with(*steps: dict[str, Any], **options: object) -> dict[str, Any]:
    return {"format": 1, "steps": list(steps), **options}


def step(**values: object) -> dict[str, Any]:
    return {"id": "k3v9", "action": "demo.log", **values}


def problems_of(data: object) -> tuple[Problem, ...]:
    with pytest.raises(DocumentError) as caught:
        parse(data)
    return caught.value.problems


def problem_of(data: object) -> Problem:
    problems = problems_of(data)
    assert len(problems) == 1, problems
    return problems[0]


def nested(levels: int) -> dict[str, Any]:
    """Return a step with a chain of steps inside it, one in each branch."""
    inner = step(id="leaf")
    for number in range(levels):
        inner = step(id=f"n{number}", branches={"body": [inner]})
    return inner


FULL = {
    "format": 1,
    "object": "shop.customer",
    "guard": "object.is_active",
    "time_zone": "Europe/Berlin",
    "steps": [
        {
            "id": "k3v9",
            "action": "builtin.if",
            "config": {"condition": "object.is_active"},
            "config_version": 2,
            "note": "only customers who can log in",
            "disabled": True,
            "retry": {
                "attempts": 5,
                "backoff": "5m",
                "factor": 3,
                "jitter": "none",
                "errors": ["TimeoutError", "smtplib.SMTPServerDisconnected"],
            },
            "timeout": "2h",
            "if_unknown": "fail",
            "branches": {"then": [{"id": "p0qd", "action": "mail.send"}], "else": []},
        }
    ],
}


def test_a_full_document_is_read_with_all_its_values() -> None:
    assert parse(FULL) == Document(
        object="shop.customer",
        guard="object.is_active",
        time_zone="Europe/Berlin",
        steps=(
            Step(
                id="k3v9",
                action="builtin.if",
                config={"condition": "object.is_active"},
                config_version=2,
                note="only customers who can log in",
                disabled=True,
                retry=RetryPolicy(
                    attempts=5,
                    backoff=300,
                    factor=3,
                    jitter="none",
                    errors=("TimeoutError", "smtplib.SMTPServerDisconnected"),
                ),
                timeout=7_200,
                if_unknown="fail",
                branches={"then": (Step(id="p0qd", action="mail.send"),), "else": ()},
            ),
        ),
    )


def test_the_smallest_document_has_defaults_everywhere() -> None:
    assert parse({"format": 1, "steps": []}) == Document()


def test_null_stands_for_the_values_that_may_be_absent() -> None:
    data = document_with(step(retry=None, timeout=None), object=None, time_zone=None)
    assert parse(data) == Document(steps=(Step(id="k3v9", action="demo.log"),))


def test_the_written_form_leaves_defaults_out() -> None:
    data = to_data(
        parse(document_with(step(retry={"attempts": 3, "backoff": "30s"}, config_version=1)))
    )
    assert data == {
        "format": 1,
        "steps": [
            {
                "id": "k3v9",
                "action": "demo.log",
                "config": {},
                "config_version": 1,
                "retry": {"attempts": 3},
            }
        ],
    }


def test_whole_seconds_are_written_as_whole_numbers() -> None:
    written = to_data(parse(FULL))["steps"][0]
    assert repr((written["timeout"], written["retry"]["backoff"])) == "(7200, 300)"


def test_the_document_shares_nothing_with_what_it_was_read_from_or_written_to() -> None:
    data = document_with(step(config={"list": [1, {"key": "value"}]}))
    document = parse(data)
    data["steps"][0]["config"]["list"][1]["key"] = "changed"
    to_data(document)["steps"][0]["config"]["list"].append(2)
    assert document.steps[0].config == {"list": [1, {"key": "value"}]}


def test_all_problems_are_found_in_one_pass() -> None:
    data = document_with(
        step(id="k3v9", action="Mail", disabled="yes"),
        step(id="k3v9", config={"limit": math.nan}, branches={"then": [step(id="")]}),
        object="Shop.Customer",
        guard=7,
        color="red",
    )
    assert [problem.path for problem in problems_of(data)] == [
        "color",
        "object",
        "guard",
        "steps[0].action",
        "steps[0].disabled",
        "steps[1].id",
        "steps[1].config.limit",
        "steps[1].branches.then[0].id",
    ]


def test_a_problem_names_its_step_and_field() -> None:
    inner = step(id="p0qd", config={"text": {"deep": ["\x00"]}}, retry={"attempts": 0})
    first, second = problems_of(document_with(step(branches={"then": [inner]})))
    assert (first.step, first.field) == ("p0qd", "config.text")
    assert first.path == "steps[0].branches.then[0].config.text.deep[0]"
    assert (second.step, second.field) == ("p0qd", "retry.attempts")


@each("data", [None, [], "format: 1", 1, object()])
def test_what_is_not_an_object_is_not_a_document(data: object) -> None:
    assert "must be an object" in problem_of(data).message


def test_missing_keys_are_named() -> None:
    paths = [problem.path for problem in problems_of({})]
    assert paths == ["format", "steps"]
    paths = [problem.path for problem in problems_of(document_with({}))]
    assert paths == ["steps[0].id", "steps[0].action"]
    assert problem_of(document_with(step(retry={}))).path == "steps[0].retry.attempts"


@each("value", [0, -1, True, "1", 1.0, None])
def test_a_wrong_format_is_refused(value: object) -> None:
    assert "must be 1" in problem_of({"format": value, "steps": []}).message


@pytest.mark.parametrize("value", [2, 2**16_000], ids=["next", "huge"])
def test_a_newer_format_asks_for_an_upgrade_and_for_nothing_else(value: int) -> None:
    problem = problem_of({"format": value, "stages": "unheard of"})
    assert problem.path == "format"
    assert "upgrade flowcontrol" in problem.message


@each(
    ("key", "advice"),
    [
        ("titel", "Remove it. Possible here: id, action,"),
        ("brances", "Did you mean “branches”?"),
        ("Timeout", "Did you mean “timeout”?"),
        ("x" * 10_000, "Remove it"),
        (True, "Remove it"),
        (7, "Remove it"),
        (None, "Remove it"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(key: object, advice: str) -> None:
    problem = problem_of({"format": 1, "steps": [{**step(), key: 1}]})
    assert advice in problem.message
    assert len(problem.path) < 150


def test_a_flood_of_unknown_keys_gives_a_bounded_number_of_problems() -> None:
    assert len(problems_of(document_with(**{f"key{n}": 1 for n in range(5_000)}))) == 20


@each("step_id", ["", "a b", "ä", "x" * 33, "x" * 300, "abc\n", "a.b", 12, None, ["a"], "\ud800"])
def test_a_bad_step_id_is_refused(step_id: object) -> None:
    problem = problem_of(document_with(step(id=step_id)))
    assert (problem.path, problem.step, problem.field) == ("steps[0].id", "", "id")


@pytest.mark.parametrize("step_id", ["a", "K3_v-9", "x" * 32])
def test_a_good_step_id_is_accepted(step_id: str) -> None:
    assert parse(document_with(step(id=step_id))).steps[0].id == step_id


def test_a_duplicate_id_names_both_places() -> None:
    problem = problem_of(document_with(step(branches={"then": [step()]})))
    assert problem.path == "steps[0].branches.then[0].id"
    assert "as is that of steps[0]" in problem.message


@each(
    "action", ["log", "Demo.log", "demo.", ".log", "demo..log", "demo.2", "1.log", "demo.log\n", 5]
)
def test_a_bad_action_key_is_refused(action: object) -> None:
    assert problem_of(document_with(step(action=action))).path == "steps[0].action"


def test_the_name_of_an_action_may_have_dots() -> None:
    assert parse(document_with(step(action="shop.order.pay_2"))).steps[0].action


@each("value", ["customer", "Shop.customer", "shop.Customer", "shop.a.b", "", 3, {}])
def test_a_bad_object_is_refused(value: object) -> None:
    assert problem_of(document_with(object=value)).path == "object"


@each(
    "name",
    ["", "../etc/passwd", "/etc", "Europe/", "Berlin!", "a\x00", "\ud800", "x" * 101, 1],
)
def test_what_is_not_the_name_of_a_time_zone_is_refused(name: object) -> None:
    assert problem_of(document_with(time_zone=name)).path == "time_zone"


@each("name", [*sorted(available_timezones()), "Europe/Atlantis"])
def test_the_name_of_a_zone_is_read_also_where_the_machine_does_not_know_it(name: str) -> None:
    assert parse(document_with(time_zone=name)).time_zone == name


@each(
    ("value", "seconds"),
    [(0, 0), (1.5, 1.5), ("30s", 30), ("5m", 300), ("2h", 7_200), ("1.5 d", 129_600)],
)
def test_durations_are_numbers_of_seconds_or_short_texts(value: object, seconds: float) -> None:
    assert to_seconds(value) == seconds


@each(
    "value",
    [
        *("30", "s", "-5s", "5 minutes", "1e3s", "٣s", "", "5s\n", "nan", "9" * 320 + "d"),
        *(math.nan, math.inf, -math.inf, -1, 2**1_100, True, None, [], "100000d"),
    ],
)
def test_what_is_not_a_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        to_seconds(value)
    data = document_with(step(retry={"attempts": 2, "backoff": value}))
    assert problem_of(data).path == "steps[0].retry.backoff"


@pytest.mark.parametrize("value", [0, "0s", "soon", math.inf])
def test_a_timeout_is_longer_than_nothing(value: object) -> None:
    assert problem_of(document_with(step(timeout=value))).path == "steps[0].timeout"


@each(
    ("key", "value"),
    [
        ("config", None),
        ("config", []),
        ("config_version", 0),
        ("config_version", True),
        ("config_version", 1.0),
        ("config_version", 2**31),
        ("note", None),
        ("note", "x" * 2_001),
        ("note", "\x00"),
        ("disabled", 1),
        ("retry", 3),
        ("retry", []),
        ("if_unknown", "skip"),
        ("if_unknown", []),
        ("branches", None),
        ("branches", []),
    ],
)
def test_a_wrong_value_of_a_step_is_refused_at_its_key(key: str, value: object) -> None:
    problem = problem_of(document_with(step(**{key: value})))
    assert (problem.path, problem.step, problem.field) == (f"steps[0].{key}", "k3v9", key)


@each(
    ("key", "value"),
    [
        ("attempts", 0),
        ("attempts", 1_001),
        ("attempts", "5"),
        ("factor", 0.5),
        ("factor", math.nan),
        ("factor", 2**1_100),
        ("factor", True),
        ("factor", "2"),
        ("jitter", "some"),
        ("jitter", None),
        ("errors", "TimeoutError"),
        ("errors", ["not a name"]),
        ("errors", [1]),
        ("errors", ["E"] * 51),
        ("delay", 1),
    ],
)
def test_a_wrong_value_of_a_retry_policy_is_refused_at_its_key(key: str, value: object) -> None:
    problem = problem_of(document_with(step(retry={"attempts": 2, key: value})))
    assert (problem.path, problem.field) == (f"steps[0].retry.{key}", f"retry.{key}")


@pytest.mark.parametrize("value", [None, {}, "[]", 1])
def test_steps_are_a_list_of_objects(value: object) -> None:
    assert "must be a list of steps" in problem_of({"format": 1, "steps": value}).message
    problem = problem_of(document_with(step(branches={"then": value})))
    assert (problem.path, problem.step) == ("steps[0].branches.then", "k3v9")
    assert "must be a list of steps" in problem.message


@pytest.mark.parametrize("value", [None, [], "demo.log", 1])
def test_a_step_is_an_object(value: object) -> None:
    problem = problem_of({"format": 1, "steps": [value]})
    assert problem.path == "steps[0]"
    assert "must be a step" in problem.message


@each("name", ["Then", "", "2nd", "a b", "then\n", True, None])
def test_a_bad_branch_name_is_refused(name: object) -> None:
    problem = problem_of(document_with(step(branches={name: []})))
    assert "a branch is named in lower-case letters" in problem.message


@each(
    "value",
    [
        *(math.nan, math.inf, 2**1_100, "\x00", "a\ud800b", (1, 2), {1}, b"x", object(), 1j),
        *({"\x00": 1}, {"\udfff": 1}, {1: "one"}, {None: 1}, [[math.nan]]),
    ],
)
def test_a_configuration_value_that_cannot_be_stored_is_refused(value: object) -> None:
    problem = problem_of(document_with(step(config={"text": value})))
    assert problem.path.startswith("steps[0].config.text")
    assert problem.field == "config.text"


@pytest.mark.parametrize("key", [1, None, "\x00"])
def test_a_configuration_key_that_cannot_be_stored_is_refused(key: object) -> None:
    assert problem_of(document_with(step(config={key: 1}))).path.startswith("steps[0].config[")


def test_unusual_keys_are_quoted_and_shortened_in_paths() -> None:
    config = {"two words": math.nan, "x" * 500: math.nan}
    first, second = problems_of(document_with(step(config=config)))
    assert first.path == "steps[0].config['two words']"
    assert len(second.path) < 100


def test_a_message_shows_where_the_unstorable_character_is() -> None:
    message = problem_of(document_with(step(config={"text": "ab\x00"}))).message
    assert "U+0000 at position 2" in message


def test_the_longest_texts_are_accepted_and_longer_ones_are_not() -> None:
    parse(document_with(step(note="n" * 2_000), guard="g" * 1_000))
    assert "at most 1,000" in problem_of(document_with(guard="g" * 1_001)).message


def test_two_thousand_steps_are_accepted_and_one_more_is_not() -> None:
    steps = [step(id=f"s{number}") for number in range(2_001)]
    assert len(parse(document_with(*steps[:-1])).steps) == 2_000
    assert "more than 2,000 steps" in problem_of(document_with(*steps)).message


def test_fifty_branches_deep_is_accepted_and_one_more_is_not() -> None:
    document = parse(document_with(nested(50)))
    assert max(visit.depth for visit in document.walk()) == 50
    assert "more than 50 branches deep" in problem_of(document_with(nested(51))).message


@pytest.mark.slow
def test_maliciously_deep_steps_are_a_problem_and_no_recursion_error() -> None:
    assert "branches deep" in problem_of(document_with(nested(50_000))).message


@pytest.mark.slow
@pytest.mark.parametrize("container", ["list", "object"])
def test_maliciously_deep_configuration_is_a_problem_and_no_recursion_error(
    container: str,
) -> None:
    value: object = 1
    for _ in range(50_000):
        value = [value] if container == "list" else {"key": value}
    problem = problem_of(document_with(step(config={"text": value})))
    assert "nests deeper than 50 levels" in problem.message


def test_fifty_levels_of_configuration_are_accepted() -> None:
    value: object = 1
    for _ in range(50):
        value = [value]
    document = parse(document_with(step(config={"text": value})))
    assert parse(to_data(document)) == document
    problem = problem_of(document_with(step(config={"text": [value]})))
    assert "nests deeper" in problem.message


def test_a_document_may_have_one_mebibyte_as_json() -> None:
    empty = document_with(step(config={"text": ""}))
    size = len(str(to_data(parse(empty))).replace(" ", ""))
    room = 1024 * 1024 - size
    parse(document_with(step(config={"text": "x" * room})))
    problem = problem_of(document_with(step(config={"text": "x" * (room + 1)})))
    assert "larger than 1,024 KiB" in problem.message


def test_the_size_counts_bytes_and_not_characters() -> None:
    data = document_with(step(config={"text": "€" * 400_000}))
    assert "larger than 1,024 KiB" in problem_of(data).message


@pytest.mark.slow
def test_shared_parts_do_not_unfold_without_end() -> None:
    value: object = ["lol"] * 10
    for _ in range(40):
        value = [value] * 10
    steps = [step(id=f"s{number}", config={"text": value, "more": {}}) for number in range(3)]
    assert "larger than 1,024 KiB" in problem_of(document_with(*steps)).message


def test_shared_steps_do_not_unfold_without_end() -> None:
    shared = step(id="leaf")
    for number in range(40):
        shared = step(id=f"n{number}", branches={"then": [shared], "else": [shared]})
    assert any(
        "more than 2,000 steps" in problem.message for problem in problems_of(document_with(shared))
    )


def test_the_error_joins_all_problems_with_their_places() -> None:
    with pytest.raises(DocumentError, match=r"format: .*; steps: .*"):
        parse({})
