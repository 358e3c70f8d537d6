"""What a step does, in words: how its sentence begins, and the rest of it."""

from __future__ import annotations

from itertools import takewhile
from typing import NamedTuple

from flowcontrol.flows import step_label, summarize_step
from flowcontrol_core.document.tree import Document, Step


class Phrase(NamedTuple):
    """It begins with what the sentence shares with the name of the action, or else that name."""

    begin: str
    rest: str


def phrase_of(step: Step, document: Document) -> Phrase:
    """Return what a step does, without saying the name of its action twice."""
    label, summary = step_label(step), summarize_step(step, document)
    pairs = zip(label.casefold().split(), summary.casefold().split(), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    words = summary.split()
    return Phrase(" ".join(words[:shared]) or label, " ".join(words[shared:]))
