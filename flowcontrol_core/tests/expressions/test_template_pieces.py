"""How a template is cut: what is a comment, and that its length is all that it costs."""

from __future__ import annotations

import pytest

from flowcontrol_core.expressions.template_pieces import cut


class Searched(str):
    """A text that counts the characters in which something is searched."""

    __slots__ = ("characters",)

    def find(self, sub: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        end = len(self) if end is None else end
        found = super().find(sub, start, end)
        self.characters = getattr(self, "characters", 0) + (end if found < 0 else found) - start
        return found


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("{# a #}b", ["b"]),
        ("{#{# a {{ b }}", ["{#{# a ", "{{ b }}"]),
        ("{# a\n{# b #}c", ["{# a\n", "c"]),
        ("{# a #}{# b", ["{# b"]),
        ("{#\n#}", ["{#\n#}"]),
    ],
)
def test_a_comment_ends_in_its_line_or_is_text(source: str, texts: list[str]) -> None:
    assert [piece.span.text for piece in cut(source)] == texts


@pytest.mark.parametrize("source", ["{#" * 5_000, "{# a #}" * 2_000, "{{ a }}" * 2_000])
def test_what_is_searched_grows_with_the_length_only(source: str) -> None:
    text = Searched(source)
    list(cut(text))
    assert text.characters <= 2 * len(text)
