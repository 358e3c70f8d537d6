"""The glossary explains the words that the code and the pages use, in a sentence or two each."""

from __future__ import annotations

import re

from tests.cases import each
from tests.docs.pages import read, rows, sections
from tests.tooling.catalogues import catalogue_path, messages, read_catalogue
from tests.tooling.sources import SOURCES

#: What the product is made of.
VOCABULARY = """
action, step, branch, flow, flow version, input, flow run, thread, cursor, activation, checkpoint,
trigger, flow trigger, operator action, bulk operation, secret, plugin, document, draft, guard,
directive, effects, expression, outcome, status, state, reason code, queue, limit, sub-flow
"""
#: What the field calls the parts of such an engine.
FIELD = """
claim, lease, fence, heartbeat, backoff, jitter, idempotency key, worker, sweep, batch, driver,
admission, slot, consumed slot, inbox, outbox, frame, memo, program, interpreter, dispatch, due,
overdue, retention, prune, attempt, attempts exhausted, retry policy, yield, wake-up, suspend,
event, fire, match, listener, skipped firing, payload, history, hook, entry point, registry,
redaction, health issue, remedy, key, digest, revision, publish
"""
WORDS = sorted({" ".join(word.split()) for text in (VOCABULARY, FIELD) for word in text.split(",")})
SECTIONS = sections(read("reference/glossary.md"))
#: The texts of the German catalogues, each with its translation in lower case; what has a context
#: means something else.
TEXTS = [
    (message.id, message.string.lower())
    for source in SOURCES
    for message in messages(read_catalogue(catalogue_path(source, "de"), "de"))
    if isinstance(message.id, str) and isinstance(message.string, str) and not message.context
]
GERMAN = rows(SECTIONS.pop("German"))
GLOSSARY = [row for section in SECTIONS.values() for row in rows(section)]


@each("word", WORDS)
def test_a_word_of_the_product_is_explained(word: str) -> None:
    assert word in [row[0] for row in GLOSSARY]


def test_no_word_is_explained_twice() -> None:
    words = [row[0] for row in GLOSSARY]
    assert len(words) == len(set(words))


@each(("word", "meaning"), GLOSSARY)
def test_a_meaning_is_one_sentence_or_a_few(word: str, meaning: str) -> None:
    assert meaning.endswith((".", ").")), word
    assert len(meaning) <= 240, word


def terms(text: str) -> list[str]:
    """Return the words of a cell, without what stands in brackets and before a colon."""
    bare = re.sub(r" *\([^)]*\)|[^;]*: ", "", text)
    return [word.strip() for word in re.split("[;,]", bare)]


@each(("english", "german"), GERMAN)
def test_the_german_catalogues_use_the_words_of_the_glossary(english: str, german: str) -> None:
    pairs = dict(zip(terms(english), terms(german), strict=True))
    assert not [(text, word) for text, word in TEXTS if pairs.get(text, word).lower() != word]
