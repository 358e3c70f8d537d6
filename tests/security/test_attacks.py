"""The corpus of attacks by expressions and templates: each harmless, and bounded in steps.

Harmless is an ExpressionError, or a plain value without a secret; no hidden column was read,
nothing called, nothing written, and the state is as it was.
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.template import Context, Engine
from pytest_django import Settings

from flowcontrol_core import bounds
from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Scope, compile_expression, compile_template
from tests.cases import each
from tests.security.bait import PASSWORD_HASH, SECRETS, SESSION_KEY, Bait, is_plain, state
from tests.security.corpus import Attack, read

EXPRESSIONS = read("expressions")
TEMPLATES = read("templates")
#: A step is a millionth of a second on a slow machine; tests run on slower ones, beside others.
MICROSECONDS_A_STEP = 10
#: What may be needed before the first step, as for compiling 20,000 characters.
COMPILING = 0.5


@pytest.fixture
def bait(db: None, settings: Settings) -> Bait:
    settings.SECRET_KEY = "DJANGO-SECRET"
    settings.FLOWCONTROL = {
        "EXPRESSION_FIELDS": {
            "auth.user": ["username", "password", "groups", "delete", "set_password", "logentry"],
            "sessions.session": ["session_key", "expire_date", "get_decoded"],
        }
    }
    return Bait()


class Outcome:
    """What an attack came to: the value or the error, the steps, and the time that it took."""

    def __init__(self, attack: Attack, scope: Scope, *, template: bool, html: bool) -> None:
        self.is_refused = False
        self.value: Any = None
        began = time.process_time()
        try:
            if template:
                compiled: Any = compile_template(attack.text, html=html)
            else:
                compiled = compile_expression(attack.text)
        except ExpressionError as error:
            self.is_refused, self.value = True, error.message
            self.compiling, self.evaluating = time.process_time() - began, 0.0
            return
        compiled_at = time.process_time()
        try:
            self.value = compiled.evaluate(scope)
        except ExpressionError as error:
            self.value = error.message
        self.compiling = compiled_at - began
        self.evaluating = time.process_time() - compiled_at


def assert_harmless(bait: Bait, scope: Scope, outcome: Outcome) -> None:
    value = outcome.value
    # An object of the payload stands for itself, alone and in a list: it is not written.
    objects = value if isinstance(value, list) and value else [value]
    is_object = all(isinstance(one, Session) for one in objects)
    shown = "" if is_object else f"{value!r:.3000000} {value!s:.3000000}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert bait.touched == []
    assert is_plain(value), type(value)
    assert {**scope.state} == state()
    assert outcome.compiling < COMPILING
    assert outcome.evaluating < bounds.EVALUATION_STEPS * MICROSECONDS_A_STEP / 1e6


def test_the_corpus_is_large_and_each_attack_is_in_it_once() -> None:
    assert len({attack.text for attack in EXPRESSIONS}) == len(EXPRESSIONS) >= 300
    assert len({attack.text for attack in TEMPLATES}) == len(TEMPLATES) >= 100


@pytest.mark.once
@each("attack", EXPRESSIONS)
def test_an_expression_does_no_harm(
    bait: Bait, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    bait.touched.clear()
    scope = bait.scope()
    with bait.watched(monkeypatch):
        outcome = Outcome(attack, scope, template=False, html=False)
    assert_harmless(bait, scope, outcome)
    assert outcome.is_refused or not attack.is_refused


@pytest.mark.once
@each(["attack", "html"], product(TEMPLATES, [False, True]))
def test_a_template_does_no_harm(
    bait: Bait, monkeypatch: pytest.MonkeyPatch, attack: Attack, html: bool
) -> None:
    bait.touched.clear()
    scope = bait.scope()
    with bait.watched(monkeypatch):
        outcome = Outcome(attack, scope, template=True, html=html)
    assert_harmless(bait, scope, outcome)
    assert len(outcome.value) <= bounds.RENDER_CHARACTERS
    assert outcome.is_refused or not attack.is_refused
    # What the author of an HTML template types is HTML; what the values bring is not.
    if html and not outcome.is_refused and "<script>" not in attack.text:
        assert "<script>" not in outcome.value


@pytest.mark.once
def test_the_same_attack_takes_the_same_steps_each_time(bait: Bait) -> None:
    """No clock decides: what is refused is refused everywhere."""
    heavy = [attack for attack in TEMPLATES if attack.family == "work without end"]
    for attack in heavy[:8]:
        left = set()
        for _ in range(2):
            scope = bait.scope()
            outcome = Outcome(attack, scope, template=True, html=False)
            left.add((outcome.value, scope.steps))
        assert len(left) == 1


def test_the_bait_is_real(bait: Bait) -> None:
    """Django's own engine, given the same values, does give the secrets away."""
    scope = bait.scope()
    context = Context({"object": scope.obj, "payload": scope.payload, "state": state()})
    engine = Engine()
    for text, secret in {
        "{{ object.user.password }}": PASSWORD_HASH,
        "{{ payload.session.session_key }}": SESSION_KEY,
        "{{ payload.session.pk }}": SESSION_KEY,
        "{{ payload.callable }}": SESSION_KEY,
        "{{ object.user.groups.all.0.user_set.all.0.password }}": PASSWORD_HASH,
    }.items():
        assert secret in engine.from_string(text).render(context)
    changed = {"a": 1}
    engine.from_string("{{ state.clear }}").render(Context({"state": changed}))
    assert changed == {}
    assert bait.touched


def test_the_watch_is_real(bait: Bait, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = bait.scope()
    with bait.watched(monkeypatch):
        _ = scope.obj.user.password
        scope.obj.user.delete()
        scope.payload["hostile"].anything = 1  # type: ignore[index]
        _ = 1 in scope.payload["hostile"]  # type: ignore[index]
    assert bait.touched == ["read User.password", "called delete", "contains"]


def test_a_session_handed_out_whole_is_for_actions_only(bait: Bait) -> None:
    """A path to an object gives the object itself; what can be looked up in it stays bounded."""
    scope = bait.scope()
    assert isinstance(compile_expression("payload.session").evaluate(scope), Session)
    assert compile_expression("payload.session.session_key").evaluate(scope) is None
