"""Text templates: the tags, escaping, variables, and the bounds of one rendering."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone, translation

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Scope, compile_template
from tests.cases import each

STATE: dict[str, Any] = {
    "name": "Ann & <Bob>",
    "tries": 2,
    "items": [{"name": "pen", "price": 1.5}, {"name": "ink", "price": 2.0}],
    "address": {"city": "Berlin", "zip": "10115"},
    "pairs": [["a", 1], ["b", 2]],
    "l": ["xy", "z"],
}


@each(
    ("text", "output"),
    [
        ("", ""),
        ("plain { text } 100 %", "plain { text } 100 %"),
        ("Dear {{ name }}!", "Dear Ann & <Bob>!"),
        ("{{ name|lower }}{{tries|add:1}}", "ann & <bob>3"),
        ("{{ None }}{{ missing }}", ""),
        ("{{ 1.5 }} {{ 12345.5 }}", "1.5 12345.5"),
        ("{# note #}a{% comment %}{% load x %}{{ y|z }}{% endcomment %}b", "ab"),
        ("{% if tries == 1 %}A{% elif tries == 2 %}B{% else %}C{% endif %}", "B"),
        ("{% if missing %}A{% else %}C{% endif %}", "C"),
        ("{% if missing %}A{% endif %}", ""),
        ("{% for i in items %}{{ i.name }},{% endfor %}", "pen,ink,"),
        ("{% for i in items reversed %}{{ i.name }},{% endfor %}", "ink,pen,"),
        ("{% for i in missing %}x{% empty %}none{% endfor %}", "none"),
        ("{% for k, v in address %}{{ k }}={{ v }};{% endfor %}", "city=Berlin;zip=10115;"),
        ("{% for k in address %}{{ k }};{% endfor %}", "city;zip;"),
        ("{% for a, b in pairs %}{{ a }}{{ b }}{% endfor %}", "a1b2"),
        (
            "{% for i in items %}{{ forloop.counter }}{{ forloop.revcounter0 }} {% endfor %}",
            "11 20 ",
        ),
        (
            "{% for i in items %}{{ i.name }}{% if not forloop.last %}, {% endif %}{% endfor %}",
            "pen, ink",
        ),
        (
            "{% for i in l %}{% for j in i %}{{ forloop.parentloop.last }} {%endfor%}{%endfor%}",
            "False False True ",
        ),
        ("{% with a=tries|add:1 b='x y' %}{{ a }}{{ b }}{% endwith %}{{ a }}", "3x y"),
        ("{% with tries=9 %}{{ tries }}{{ state.tries }}{% endwith %}{{ tries }}", "922"),
        ("{% firstof missing tries 'none' %}{% firstof missing 'none' %}", "2none"),
        ('{% now "Y-m-d H:i" %}', "2025-03-30 12:15"),
        ("{{ items.0 }}", "{'name': 'pen', 'price': 1.5}"),
        ("{{ tries * 2 + 1 }} {{ items[0].name }} {{ name or 'guest' }}", "5 pen Ann & <Bob>"),
        ("{% for i in [tries, 7] %}{{ i }},{% endfor %}", "2,7,"),
        ("{% for k, v in address.items %}{{ k }}={{ v }};{% endfor %}", "city=Berlin;zip=10115;"),
        ("{% with a=items[1] b=tries-5 %}{{ a.name }}{{ b }}{% endwith %}", "ink-3"),
        ("{% firstof missing -1 %}", "-1"),
        ("{{ object.username }}", "ann"),
        ("{{ object }}", "ann"),
    ],
)
def test_output_of_template(render: Callable[..., str], text: str, output: str) -> None:
    assert render(text, state=STATE, obj=User(username="ann")) == output


def test_text_is_not_escaped_but_html_is(render: Callable[..., str]) -> None:
    text = "<p>{{ name }}|{{ name|lower }}|{% firstof name %}|{{ 'a<br>b' }}</p>"
    assert "Ann & <Bob>" in render(text, state=STATE)
    html = render(text, html=True, state=STATE)
    assert html == (
        "<p>Ann &amp; &lt;Bob&gt;|ann &amp; &lt;bob&gt;|Ann &amp; &lt;Bob&gt;|a<br>b</p>"
    )


def test_html_filters_escape_once(render: Callable[..., str]) -> None:
    state = {"a": "<i>\nx", "l": ["<a>", "b"]}
    text = "{{ a|linebreaksbr }}|{{ a|escape }}|{{ l|join:'<br>' }}|{{ a|escape|lower }}"
    assert render(text, html=True, state=state) == (
        "&lt;i&gt;<br>x|&lt;i&gt;\nx|&lt;a&gt;<br>b|&lt;i&gt;\nx"
    )


def test_time_is_rendered_in_the_active_time_zone(render: Callable[..., str]) -> None:
    with timezone.override("Europe/Berlin"):
        assert render('{% now "H:i" %} {{ now|date:"H:i" }} {{ now }}') == (
            "14:15 14:15 2025-03-30 14:15:00+02:00"
        )


def test_numbers_are_not_localised(render: Callable[..., str]) -> None:
    with translation.override("de"):
        assert render("{{ n }} {{ n|floatformat:1 }}", state={"n": 1234.5}) == "1234.5 1234.5"
        assert render('{{ now|date:"F" }}') == "März"


def test_names_are_those_of_the_scope_only() -> None:
    compiled = compile_template(
        "{% for i in state.items %}{{ i.name }}{{ forloop.counter }}{% endfor %}{{ i }}"
        "{% with a=object.total %}{{ a.b }}{% if tries > a %}{% endif %}{% endwith %}"
    )
    assert compiled.names == {("state", "items"), ("object", "total"), ("tries",), ("i",)}


def test_rendering_changes_neither_scope_nor_state(now: datetime) -> None:
    state = {"a": [1, 2]}
    scope = Scope(state=state, now=now)
    compile_template("{% for x in a %}{% with b=x %}{{ b }}{% endwith %}{% endfor %}").evaluate(
        scope
    )
    assert state == {"a": [1, 2]}
    assert dict(scope.variables) == {}


@each(
    ("text", "marked", "words"),
    [
        ("a {% load x %}", "{% load x %}", "Possible are: comment, firstof"),
        ("{% iff a %}", "{% iff a %}", "Did you mean “if”?"),
        ("{% if a %}x", "{% if a %}", "Add {% endif %}"),
        ("{% for a in b %}x", "{% for a in b %}", "Add {% endfor %}"),
        ("{% if a %}{% else %}x", "{% else %}", "Add {% endif %}"),
        ("{% comment %}x", "{% comment %}", "Add {% endcomment %}"),
        ("x{% endif %}", "{% endif %}", "belongs to"),
        ("{% if a %}{% else %}{% else %}{% endif %}", "{% else %}", "belongs to"),
        ("{% if a %}{% endfor %}", "{% endfor %}", "belongs to"),
        ("Hi {{ name }", "{{", "not closed"),
        ("Hi {{ name\n}}", "{{", "same line"),
        ("{% if a", "{%", "not closed"),
        ("{% %}", "{% %}", "tag is empty"),
        ("{{ name|lowr }}", "lowr", "Did you mean “lower”?"),
        ("{{ a b }}", "b", "not expected"),
        ("{% firstof a == b %}", "==", "A value was expected"),
        ("{{ a|escape }}", "escape", "for HTML only"),
        ("{% for in x %}{% endfor %}", "{% for in x %}", "Write a loop like this"),
        ("{% for a of x %}{% endfor %}", "{% for a of x %}", "Write a loop like this"),
        ("{% for now in x %}{% endfor %}", "{% for now in x %}", "meaning of its own"),
        ("{% for _a in x %}{% endfor %}", "{% for _a in x %}", "begin with a letter"),
        ("{% with object=1 %}{% endwith %}", "{% with object=1 %}", "meaning of its own"),
        ("{% with a as b %}{% endwith %}", "{% with a as b %}", "Write the tag like this"),
        ("{% now %}", "", "value is missing"),
        ("{% now name %}", "{% now name %}", "in quotes"),
    ],
)
def test_error_of_a_template_marks_the_place(text: str, marked: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(text)
    error = caught.value
    assert error.source == text
    assert words in error.message
    assert text[error.position : error.position + error.length] == marked


def test_loop_over_a_number_is_an_error_with_the_place(render: Callable[..., str]) -> None:
    text = "{% for a in tries %}x{% endfor %}"
    with pytest.raises(ExpressionError, match="tries is not a list") as caught:
        render(text, state=STATE)
    assert text[caught.value.position :].startswith("tries")


def test_loop_with_other_items_than_names_is_an_error(render: Callable[..., str]) -> None:
    with pytest.raises(ExpressionError, match="2 names"):
        render("{% for a, b in items %}x{% endfor %}", state=STATE)


def test_too_long_template_is_refused() -> None:
    compile_template("x" * 20_000)
    with pytest.raises(ExpressionError, match="20,000"):
        compile_template("x" * 20_001)
    with pytest.raises(ExpressionError, match="at most 1,000"):
        compile_template("{{ " + "x" * 1_000 + " }}")


def test_too_deep_template_is_refused() -> None:
    with pytest.raises(ExpressionError, match="nested more than 50"):
        compile_template("{% if a %}" * 60 + "{% endif %}" * 60)


def test_iterations_of_all_loops_count_together(render: Callable[..., str]) -> None:
    state = {"l": list(range(100))}
    assert render("{% for a in l %}{% for b in l|add:l %}{% endfor %}{% endfor %}", state={}) == ""
    loop = "{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}"
    with pytest.raises(ExpressionError, match="10,000 passes"):
        render(loop, state=state)
    assert render(loop, state={"l": list(range(99))}) == ""


def test_output_is_bounded(render: Callable[..., str]) -> None:
    state = {"t": "x" * 10_000, "l": list(range(10))}
    assert len(render("{% for a in l %}{{ t }}{% endfor %}", state=state)) == 100_000
    with pytest.raises(ExpressionError, match="100,000 characters"):
        render("{% for a in l %}{{ t }}y{% endfor %}", state=state)


def test_rendering_time_is_bounded(
    render: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 1_000_000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    assert bounds.RENDER_SECONDS == 5
    assert render("{{ a }}{{ b }}") == ""
    with pytest.raises(ExpressionError, match="longer than 5 seconds"):
        render("{{ a }}{{ b }}{{ c }}")
