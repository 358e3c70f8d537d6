"""How steps are drawn: by what their actions say and declare."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

import flowcontrol_admin
from flowcontrol.base import BaseAction, Effects
from flowcontrol.flows import Phrase, Sentence, branch_label, step_icon
from flowcontrol.registry import registry
from flowcontrol.testing import temporary_registry
from flowcontrol_admin.pictures import KINDS, Picture, ends, picture_of, picture_of_action
from flowcontrol_admin.templatetags.flowcontrol_badges import glyph, sentence
from flowcontrol_core.document.tree import Step

STATIC = Path(flowcontrol_admin.__file__).parent / "static/flowcontrol_admin"


class Plain(BaseAction):
    name = "plain"
    effects = Effects.NONE

    def run(self, **_: object) -> None:
        return None


class Loop(Plain):
    name = "loop"
    has_children = True
    is_loop = True


class Fork(Plain):
    name = "fork"
    branches = ("yes", "timed_out")
    branch_labels = {"yes": "Yes, do it"}
    icon = "no-such-icon"


class Post(Plain):
    name = "post"
    icon = "mail"


class Stop(Plain):
    name = "halt"
    icon = "stop"


@pytest.mark.parametrize(
    ("action", "picture"),
    [
        ("test.plain", Picture("gear", "data")),
        ("test.loop", Picture("repeat", "loop", is_container=True, is_loop=True)),
        ("test.fork", Picture("branch", "choice", is_container=True)),
        ("test.post", Picture("mail", "msg")),
        ("gone.away", Picture("missing", "data")),
    ],
)
def test_a_step_is_drawn_by_its_icon_or_by_what_its_action_declares(
    action: str, picture: Picture
) -> None:
    with temporary_registry(Plain, Loop, Fork, Post):
        assert picture_of(Step(id="one", action=action)) == picture_of_action(action) == picture


def test_the_run_does_not_continue_below_what_ends_it() -> None:
    with temporary_registry(Stop, Post):
        assert ends(Step(id="one", action="test.halt"))
        assert not ends(Step(id="one", action="test.halt", config={"condition": "a > 1"}))
        assert not ends(Step(id="one", action="test.halt", disabled=True))
        assert not ends(Step(id="one", action="test.post"))
        assert not ends(Step(id="one", action="gone.away"))


def test_branches_have_the_labels_of_their_action_or_their_names_as_words() -> None:
    with temporary_registry(Fork):
        step = Step(id="one", action="test.fork")
        assert branch_label(step, "yes") == "Yes, do it"
        assert branch_label(step, "timed_out") == "Timed out"
        assert branch_label(Step(id="one", action="gone.away"), "odd_one") == "odd_one"
        assert step_icon(Step(id="one", action="gone.away")) == ""


def test_every_icon_is_in_the_sprite_once_and_every_kind_has_a_colour() -> None:
    symbols = re.findall(r'<symbol id="([a-z]+)"', (STATIC / "icons.svg").read_text())
    assert len(symbols) == len(set(symbols))
    assert set(KINDS) | {"missing"} <= set(symbols)
    style = (STATIC / "track.css").read_text()
    assert all(f".k-{kind} {{" in style for kind in KINDS.values())


def test_every_registered_action_names_an_icon_that_is_there() -> None:
    named = {key: entry.action.icon for key, entry in registry.actions.items()}
    assert {
        key for key, icon in named.items() if icon not in KINDS and not key.startswith("test.")
    } == set()
    assert "builtin.if" in named


def test_a_glyph_is_hidden_from_screen_readers() -> None:
    assert 'aria-hidden="true"' in glyph("mail")
    assert "icons.svg#mail" in glyph("mail")


def test_what_a_page_loads_stays_small() -> None:
    """Styles of the lists, styles of the editor and of a run, scripts; compressed, in bytes."""
    scripts = sum(_size(path) for path in STATIC.glob("*.js"))
    assert _size(STATIC / "admin.css") <= 6 * 1024
    assert _size(STATIC / "track.css") <= 6 * 1024
    assert scripts <= 15 * 1024


def _size(path: Path) -> int:
    return len(gzip.compress(path.read_bytes(), mtime=0))


def test_a_sentence_escapes_what_an_author_wrote() -> None:
    said = Sentence("<b>", (Phrase("<i>"), Phrase("<u>", is_value=True)))
    assert sentence(said) == ("<b>&lt;b&gt;</b> <span>&lt;i&gt;<var>&lt;u&gt;</var></span>")
