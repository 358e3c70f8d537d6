"""A step as a sentence: the head, what it does, and which parts of that are values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from flowcontrol_core.actions.bound_step import BoundStep, bind_step
from flowcontrol_core.actions.fields import ExpressionField
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.flows.config_forms import zone_of
from flowcontrol_core.flows.edits import step_label
from flowcontrol_core.zones import in_zone

logger = logging.getLogger(__name__)
_PLACEHOLDER = r"\{\{\s*(?P<name>.+?)\s*\}\}"


class Phrase(NamedTuple):
    """A part of a sentence; a value is an expression, or what a template inserts."""

    text: str
    is_value: bool = False


class Sentence(NamedTuple):
    """What a step does: the head is what the sentence shares with the name of its action.

    Without a shared word it is the whole name.
    """

    head: str
    phrases: tuple[Phrase, ...] = ()


def describe_step(step: Step, document: Document) -> Sentence:
    """Return what a step does; only the name of its action where that cannot say more."""
    label, bound, summary = step_label(step), _bound(step, document), ""
    if bound is not None:
        summary = _summary(bound, document)
    words, shared = summary.split(), _shared_words(label, summary)
    head = " ".join(words[:shared]) or label
    rest = " ".join(words[shared:])
    return Sentence(head, tuple(_phrases(rest, _expressions(bound))))


def summarize_step(step: Step, document: Document) -> str:
    """Return in a plain sentence what a step does; empty where its action has none."""
    bound = _bound(step, document)
    return _summary(bound, document) if bound else ""


def _bound(step: Step, document: Document) -> BoundStep | None:
    try:
        return bind_step(step, zone_of(document))
    except FlowcontrolError:
        return None


def _summary(bound: BoundStep, document: Document) -> str:
    try:
        with in_zone(zone_of(document)):
            return str(bound.action.summary(bound.config))
    except FlowcontrolError:
        return ""
    except BaseException as error:
        raise_interruption(error)
        logger.exception("The summary of the action %s failed.", bound.step.action)
        return ""


def _shared_words(label: str, summary: str) -> int:
    """Return how many words a label and a summary begin with alike."""
    pairs = zip(label.casefold().split(), summary.casefold().split(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _expressions(bound: BoundStep | None) -> list[str]:
    """Return the expressions of a step's configuration, the longest first; no plain numbers."""
    if bound is None:
        return []
    fields = bound.action.Config.base_fields.items()
    named = [name for name, field in fields if isinstance(field, ExpressionField)]
    sources = {str(bound.config.source(name) or "") for name in named}
    return sorted((one for one in sources if re.search(r"[^\W\d]", one)), key=len, reverse=True)


def _phrases(text: str, expressions: list[str]) -> Iterator[Phrase]:
    """Split a text at its placeholders, and at what is one of the expressions."""
    known = [rf"(?<![\w.]){re.escape(' '.join(one.split()))}(?![\w.])" for one in expressions]
    end = 0
    for found in re.finditer("|".join([_PLACEHOLDER, *known]), text):
        if found.start() > end:
            yield Phrase(text[end : found.start()])
        yield Phrase(found["name"] or found[0], is_value=True)
        end = found.end()
    if end < len(text):
        yield Phrase(text[end:])
