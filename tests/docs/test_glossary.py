"""The glossary explains the words that the code and the pages use, in a sentence or two each."""

from __future__ import annotations

from tests.cases import each
from tests.docs.pages import read, rows, sections

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
GLOSSARY = [
    row for section in sections(read("reference/glossary.md")).values() for row in rows(section)
]


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
