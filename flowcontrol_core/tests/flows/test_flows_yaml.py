"""The YAML of files: plain values only, the same by either parser, and bounds on all that grows."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol_core import bounds
from flowcontrol_core.errors import DocumentError, EditError
from flowcontrol_core.flows import yaml_text
from tests.cases import each

PARSERS = {"libyaml": yaml.CSafeLoader, "pure": yaml.SafeLoader}


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "_PARSER", PARSERS[request.param])


def by_each_parser(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for loader in PARSERS.values():
            patch.setattr(yaml_text, "_PARSER", loader)
            found.append(function(*arguments))
    return found


def problem_of(content: str | bytes) -> tuple[str, str]:
    with pytest.raises(DocumentError) as caught:
        yaml_text.load(content)
    (problem,) = caught.value.problems
    return problem.path, problem.message


@each(
    ("text", "value"),
    [
        # numbers of YAML 1.2, not those of 1.1
        ("1", 1), ("-17", -17), ("+3", 3), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b11", "0b11"), ("190:20:30", "190:20:30"), ("12:30", "12:30"),
        ("12:30:45.5", "12:30:45.5"),
        ("1.5", 1.5), ("-.5", -0.5), ("2.", 2.0), ("1e3", 1000.0), ("1.5e-3", 0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf), ("1.2.3", "1.2.3"), ("+", "+"), (".", "."), ("-", [None]),
        # texts that are something else in 1.1
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("n", "n"),
        ("2024-01-01", "2024-01-01"), ("2024-01-01 12:00:00", "2024-01-01 12:00:00"),
        ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00Z"), ("=", "="), ("<<", "<<"),
        # true, false, null
        ("true", True), ("False", False), ("TRUE", True), ("tRUE", "tRUE"), ("null", None),
        ("~", None),
        ("", None), ("Null", None), ("nil", "nil"),
        # quotes and blocks are texts
        ("'1'", "1"), ('"true"', "true"), ("|\n  12\n", "12\n"), (">\n  null\n", "null\n"),
        ("''", ""),
        ('"\\u00fc"', "ü"),
        ("{<<: {a: 1}, b: 2}", {"<<": {"a": 1}, "b": 2}),
        ("[1, [2, {a: ~}], yes]", [1, [2, {"a": None}], "yes"]), ("1: a", {1: "a"}),
        ("--- a\n...\n", "a"), ("%YAML 1.1\n--- yes\n", "yes"), ("\ufeffa: 1", {"a": 1}),
    ],
)  # fmt: skip
def test_a_text_is_read_as_yaml_1_2_says(parser: None, text: str, value: Any) -> None:
    read = yaml_text.load(text)
    assert (read, type(read)) == (value, type(value))


def test_not_a_number_is_read_and_left_to_the_reader_of_documents() -> None:
    assert math.isnan(yaml_text.load(".nan"))


@each(
    ("content", "place", "words"),
    [
        ("a: &x 1\nb: *x", "line 1, column 4", "aliases"),
        ("a: *x", "line 1, column 4", "aliases"),
        ("- &a [*a]", "line 1, column 3", "aliases"),
        ("a: !!python/object/apply:os.getcwd []", "line 1, column 4", "Tags (!) are not allowed"),
        ("a: !!int '3'", "line 1, column 4", "Tags"),
        ("a: ! 3", "line 1, column 4", "Tags"),
        ("a: !mine 3", "line 1, column 4", "Tags"),
        ("!!set {a, b}", "line 1, column 1", "Tags"),
        ("a: 1\na: 2", "line 2, column 1", "occurs twice"),
        ("1: a\n0x1: b", "line 2, column 1", "occurs twice"),
        ("? [a]\n: b", "line 1, column 3", "A key has to be a text"),
        ("{{a: b}: c}", "line 1, column 2", "A key has to be a text"),
        ("a: 1\n---\nb: 2", "line 2, column 1", "more than one YAML document"),
        ("a: " + "9" * 401, "line 1, column 4", "too large"),
        ("a: 0x" + "f" * 400, "line 1, column 4", "too large"),
        ("[" * 251, "line 1, column 251", "nests deeper than 250"),
        ("a: [", "line 1, column 5", "not valid YAML"),
        ("a: \x00", None, "not valid YAML"),
        (b"a: \xff", "", "not a text in UTF-8"),
        ("a: \ud800", "", "not a text in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused_with_its_place(
    parser: None, content: str | bytes, place: str | None, words: str
) -> None:
    path, message = problem_of(content)
    assert words in message
    if place is not None and "not valid YAML" not in words:
        assert path == place


FLAT = {
    "flow": "[" + "1," * 524_000 + "]",
    "base 60": "- 1:2:3:4\n" * 104_000,
}


@each("name", list(FLAT))
def test_a_flat_megabyte_is_refused_within_a_second(name: str) -> None:
    assert len(FLAT[name]) <= bounds.FILE_BYTES
    began = time.process_time()
    assert "more than 100,000 values" in problem_of(FLAT[name])[1]
    assert time.process_time() - began < 1


@pytest.mark.slow
@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_refused_takes_little_memory(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "_PARSER", PARSERS[parser])
    monkeypatch.setattr(bounds, "FILE_EVENTS", 10_000)
    text = FLAT["flow"]
    tracemalloc.start()
    try:
        problem_of(text)
        _present, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The text itself, encoded and decoded, is two of them.
    assert peak < 6 * 1024 * 1024


def test_a_file_is_not_read_where_it_is_too_large() -> None:
    for content in ("a" * (bounds.FILE_BYTES + 1), b"a" * (bounds.FILE_BYTES + 1)):
        assert "larger than 1,024 KiB" in problem_of(content)[1]


def test_an_export_of_more_values_than_are_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "FILE_EVENTS", 100)
    data = {"a": [1] * 91}
    assert yaml_text.load(yaml_text.dump(data)) == data
    with pytest.raises(EditError, match="export fewer flows"):
        yaml_text.dump({"a": [1] * 92})
    monkeypatch.setattr(bounds, "FILE_EVENTS", 99)
    assert "more than 99 values" in problem_of("a: [" + "1," * 91 + "]")[1]


TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"),
    max_size=12,
) | st.sampled_from(
    ["1e5", "0o17", "08", "1_0", "yes", "12:30", "2024-01-01", "~", "", " a", "a ", "- a",
     "{{ x }}",
     "0x1f", ".5", "+1", "null", "<<", "=", "a: b", "#", "'", '"', "1.", "-", ".inf", "!a", "&a",
     "*a"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(data=VALUES)
def test_what_is_written_is_read_back_alike_by_both_parsers(data: Any) -> None:
    text = yaml_text.dump(data)
    assert by_each_parser(yaml_text.load, text) == [data, data]
    assert yaml.safe_load(text) == data


def _read(text: str) -> Any:
    try:
        return yaml_text.load(text)
    except DocumentError:
        return DocumentError


@given(text=st.text("ab1:-,[]{}\n '\"#&*!|>%~.0 ", max_size=30))
def test_both_parsers_read_the_same_or_one_refuses(text: str) -> None:
    read = by_each_parser(_read, text)
    assert DocumentError in read or read[0] == read[1]
