"""A step as a sentence: the head, what it does, and which parts of that are values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from flowcontrol_core.actions.base import BaseAction
from flowcontrol_core.actions.bound_step import bind_step
from flowcontrol_core.actions.config import BoundConfig
from flowcontrol_core.actions.fields import ExpressionField
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import FlowcontrolError, raise_interruption
from flowcontrol_core.flows.config_forms import known_action, zone_of
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

    @property
    def rest(self) -> str:
        """Return what follows the head, as plain text."""
        return "".join(phrase.text for phrase in self.phrases)


def describe_step(step: Step, document: Document, config: BoundConfig | None = None) -> Sentence:
    """Return what a step does; only the name of its action where that cannot say more.

    ``config`` is what was read of its configuration already.
    """
    label, action = step_label(step), known_action(step.action)
    found = config if config is not None else _config(step, document)
    if action is None or found is None:
        return Sentence(label)
    words = _summary(action, found, document).split()
    shared = _shared_words(label.split(), words)
    head = " ".join(words[:shared]) or label
    return Sentence(head, tuple(_phrases(" ".join(words[shared:]), _expressions(action, found))))


def summarize_step(step: Step, document: Document) -> str:
    """Return in a plain sentence what a step does; empty where its action has none."""
    action, config = known_action(step.action), _config(step, document)
    return _summary(action, config, document) if action and config is not None else ""


def _config(step: Step, document: Document) -> BoundConfig | None:
    try:
        return bind_step(step, zone_of(document)).config
    except FlowcontrolError:
        return None


def _summary(action: BaseAction, config: BoundConfig, document: Document) -> str:
    try:
        with in_zone(zone_of(document)):
            return str(action.summary(config))
    except FlowcontrolError:
        return ""
    except BaseException as error:
        raise_interruption(error)
        logger.exception("The summary of the action %s failed.", type(action).__qualname__)
        return ""


def _shared_words(label: list[str], words: list[str]) -> int:
    """Return how many words a label and a summary begin with alike."""
    pairs = zip(label, words, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].casefold() == pair[1].casefold(), pairs))


def _expressions(action: BaseAction, config: BoundConfig) -> list[str]:
    """Return the expressions of a step's configuration, the longest first; no plain numbers."""
    fields = action.Config.base_fields.items()
    named = [name for name, field in fields if isinstance(field, ExpressionField)]
    sources = {str(config.source(name) or "") for name in named}
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
