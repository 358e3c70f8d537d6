"""The attack corpus: what an author of expressions could try, and that it does no harm.

Harmless is an ExpressionError, or a value in which no secret appears, in a short time, with the
object, the state and the database as they were.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.template import Context, Engine
from pytest_django import Settings

from flowcontrol_core.errors import ExpressionError
from flowcontrol_core.expressions import Scope, compile_expression, compile_template
from tests.cases import each

PASSWORD_HASH = "md5$PASSWORD-HASH"
SESSION_KEY = "LIVE-SESSION-KEY"
SECRETS = (PASSWORD_HASH, "PASSWORD-HASH", SESSION_KEY, "DJANGO-SECRET", "ann@example.com")
# One attack takes a few milliseconds at most; only what hangs comes near this.
SECONDS = 10

EXPRESSIONS = [
    # secrets of the object and of what it leads to
    "object.password",
    "object.user.password",
    "object.user.password|upper",
    "object.user.password|first",
    'object.user.password|default:"nothing"',
    "object.user.email",
    "object.user.get_session_auth_hash",
    "object.user.user_permissions.all.0.content_type",
    "object.content_type.model_class.objects.all.0.password",
    "object.content_type.get_object_for_this_type",
    "object.content_type.get_all_objects_for_this_type",
    "object.get_edited_object",
    "object.get_edited_object.password",
    "object.user.groups.all",
    "object.user.groups.all.0.user_set.all.0.password",
    "object.user.logentry_set.all.0.user.password",
    "payload.session.session_key",
    "payload.session.pk",
    "payload.session|lower|upper",
    'payload.sessions|join:","',
    "payload.sessions|upper",
    "payload.sessions|first|upper",
    "payload.session.get_decoded",
    "payload.session.session_data",
    "payload.user.password",
    "payload.users.0.password",
    "payload.settings.SECRET_KEY",
    "state.user.password",
    "user.password",
    # methods, managers, querysets, reverse relations, the machinery
    "object.save",
    "object.delete",
    "object.delete()",
    "object.user.delete",
    "object.user.set_password",
    "object.user.set_unusable_password",
    "object.user.email_user",
    "object.user.check_password",
    "object.user.has_perm",
    "object.objects",
    "object.objects.all",
    "object.objects.all.delete",
    "object._default_manager.all",
    "object.user.objects.all",
    "object.groups.all",
    "object.refresh_from_db",
    "object.full_clean",
    "object.serializable_value",
    "object._state",
    "object._state.db",
    "object._meta",
    "object._meta.apps.get_models",
    "object.pk.real.denominator",
    "object.action_time.tzinfo",
    "object.action_time.__class__",
    "object.DoesNotExist",
    "object.__class__",
    "object.__class__.__mro__",
    "object.__dict__",
    "object.__init__.__globals__",
    "object.__reduce__",
    # the state and its methods
    "state.clear",
    "state.pop",
    "state.popitem",
    "state.update",
    "state.setdefault",
    "state.__class__",
    "state.__class__.__base__.__subclasses__",
    "state.items.append",
    "state.items.clear",
    "state.items.sort",
    "state.name.format",
    "state.name.__class__",
    "state.function",
    "state.function.__globals__",
    "now.__class__",
    "now.replace",
    "now.tzinfo.utcoffset",
    "payload.clear",
    "payload.function.__globals__.SECRET_KEY",
    "payload.module.environ",
    "payload.module.system",
    "payload.lazy.password",
    "payload.queryset.0.password",
    "payload.queryset.delete",
    "payload.queryset",
    "payload.queryset|length",
    "payload.queryset|first",
    'payload.queryset|join:","',
    "1 in payload.queryset",
    "payload.endless",
    "payload.endless|first",
    "1 in payload.endless",
    "payload.cyclic == payload.cyclic_too",
    "payload.cyclic",
    "payload.cyclic|upper",
    # by computed keys
    'object["password"]',
    'object.user["pass" + "word"]',
    'object["user"]["password"]',
    'payload.user["password"]',
    'payload.users[0]["password"]',
    'payload.session["session_key"]',
    'payload.session["pk"]',
    'payload.session["get_decoded"]',
    'payload["session"]["session" + "_key"]',
    'object["delete"]',
    'object["__" + "class__"]',
    'object["_state"]',
    'payload.function["__" + "globals__"]',
    'payload.module["environ"]',
    "payload.queryset[0]",
    "payload.queryset[0].password",
    "payload.endless[0]",
    'now["__" + "class__"]',
    'name["__" + "class__"]',
    'state["clear"]',
    'state["pop" + "item"]',
    "payload.function()",
    "object.user.check_password('a')",
    "[payload.session]|join:','",
    "[payload.session]|stringformat:'r'",
    "payload.session|stringformat:'r'",
    "payload.session|make_list",
    "payload.users|dictsort:'password'|length",
    "payload.users|dictsort:'__class__'|length",
    "payload.queryset|dictsort:'password'",
    "payload.queryset|slice:'1'",
    "payload.session + 'a'",
    "payload.session.pk + 'a'",
    # size, depth and time
    "[" + "state," * 150 + "]",
    "[" + "payload.cyclic," * 60 + "]",
    "[payload.cyclic] == [payload.cyclic_too]",
    "[" * 490 + "]" * 490,
    "list" + "[0]" * 330,
    "list" + "[" * 490 + "0" + "]" * 490,
    "1" + "+1" * 490,
    "1" + "*9" * 490,
    "9" * 90 + ("*" + "9" * 90) * 9,
    "2" + "*(2" * 240 + ")" * 240,
    "1" + "/3" * 190,
    '"a" * 999999999',
    "name * name",
    "long + long",
    "name + name" + " + name" * 90,
    "-" * 990 + "1",
    "- " * 490 + "a",
    "days(9999999999)",
    "days(3) * " + "9" * 90,
    "now + days(99999999)",
    "1.0|round:99999",
    '"a"|ljust:999999999',
    '"a"|rjust:"999999999"',
    '"a"|center:9999999999999999999999',
    '"a"|ljust:-999999999',
    "1.0|floatformat:999999999",
    '1.0|floatformat:"-999999999"',
    "1e308|floatformat:99",
    "1e309",
    "9" * 500,
    '"' + "9" * 900 + '"|add:1',
    "1|add:" + "9" * 99,
    "|".join(["1", *["add:" + "9" * 90] * 9]),
    "name|add:name" + "|add:name" * 100,
    "bomb" + "|add:bomb" * 100,
    "list|add:list" + "|add:list" * 90,
    "not " * 2_000 + "a",
    "not " * 240 + "a",
    "(" * 990,
    "(" * 490 + "1" + ")" * 490,
    "1" + " < 1" * 240,
    "a" + " == a" * 190,
    "a.b" + ".b" * 490,
    "a" + "|upper" * 165,
    "a" + " and a" * 160,
    "a" + " or not a" * 100,
    '"' + "\\" * 990,
    '"' + "<" * 990 + '"|striptags',
    '"' + "a " * 450 + '"|truncatewords:99999999999',
    'now|date:"' + "r" * 900 + '"',
    "now|date:long",
    "long|slugify|title|upper",
    "big == big_too",
    "needle in long",
    '"a" in big',
    # other syntax that would be code elsewhere
    '"%(a)s %s %n"|upper',
    '"{0.__class__}"|upper',
    '"{state.__class__}"',
    "`id`",
    "object['password']",
    "lambda: 1",
    "__import__('os')",
    "[x for x in state]",
    "{% load l10n %}",
    "{{ object.user.password }}",
    "object.user.password|safe",
    'name|stringformat:"999999999d"',
    '1|stringformat:"*d"',
    'state|stringformat:"(name)s"',
    'list|dictsort:"__class__"',
    "name|pprint",
    "list|random",
    "forloop.parentloop",
    "_('a')",
    "\x00",
    "a\x00b",
    "object\u200b.user.password",
    "\uff4fbject.user.password",
]

TEMPLATES = [
    "{% load static %}",
    "{% include 'admin/base.html' %}",
    "{% extends 'admin/base.html' %}",
    "{% debug %}",
    "{% cycle 'a' 'b' %}",
    "{% url 'admin:index' %}",
    "{% csrf_token %}",
    "{% ssi '/etc/passwd' %}",
    "{% block a %}{% endblock %}",
    "{% autoescape off %}{% endautoescape %}",
    "{% filter upper %}{% endfilter %}",
    "{% regroup a by b as c %}",
    "{% spaceless %}{% endspaceless %}",
    "{% lorem 999999999 w %}",
    "{% widthratio 1 1 999999999 %}",
    "{% templatetag openblock %}",
    "{% verbatim %}{{ object.user.password }}{% endverbatim %}",
    "{% now 'SHORT_DATETIME_FORMAT' %}" * 400,
    "{% now '" + "r" * 900 + "' %}",
    "{{ object.user.password }}",
    "{{ object.user.password|escape }}",
    "{{ payload.session }}{{ payload.session.session_key }}",
    "{{ payload.function }}",
    "{% with u=object.user %}{{ u.password }}{{ u.email }}{% endwith %}",
    "{% for u in payload.users %}{{ u.password }}{{ u.email }}{% endfor %}",
    "{% for u in payload.queryset %}{{ u.password }}{% endfor %}",
    "{% for u in object.user.groups.all %}{{ u }}{% endfor %}",
    "{% for u in object.objects.all %}{{ u.delete }}{% endfor %}",
    "{% for k in object %}{{ k }}{% endfor %}",
    "{% for k, v in payload %}{{ v.password }}{{ v.session_key }}{% endfor %}",
    "{% for x in payload.endless %}x{% endfor %}",
    "{% for x in payload.cyclic %}{{ x }}{% endfor %}",
    "{{ payload.session }}{{ payload.sessions }}{{ payload.sessions|join:',' }}",
    "{{ payload.session|upper }}{% firstof payload.session %}",
    "{{ payload.queryset }}",
    "{% firstof object.user.password object.save %}",
    "{% if object.delete %}x{% endif %}{{ state.clear }}{{ state.popitem }}",
    "{% with object=payload.session %}{{ object.session_key }}{% endwith %}",
    "{% with a=object.__class__ %}{{ a }}{% endwith %}",
    "{% for x in list %}" * 8 + "x" + "{% endfor %}" * 8,
    "{% for x in list %}" * 8 + "{% endfor %}" * 8,
    "{% for x in long %}{% for y in long %}{% endfor %}{% endfor %}",
    "{% for x in list %}{{ long }}{{ long }}{{ long }}{% endfor %}",
    "{{ long }}" * 1_000,
    "{{ payload.users|unordered_list }}{{ payload.sessions|unordered_list }}",
    "{{ payload.session|json_script }}{{ payload.users|json_script:'a' }}",
    "{{ payload.sessions|escapeseq }}{{ payload.cyclic|unordered_list }}",
    "{% for k, v in payload.items %}{{ v }}{{ v.password }}{{ v['password'] }}{% endfor %}",
    "{% with a0=[name,name] %}"
    + "".join(f"{{% with a{n + 1}=[a{n},a{n}] %}}" for n in range(40))
    + "{{ a40 }}"
    + "{% endwith %}" * 41,
    "{% with a=bomb|add:bomb %}" * 40 + "{{ a }}" + "{% endwith %}" * 40,
    "".join(
        f"{{% with a{n + 1}=a{n}|add:a{n} %}}" if n else "{% with a1=name %}" for n in range(45)
    )
    + "{{ a45 }}"
    + "{% endwith %}" * 45,
    "{% with b=list|add:list %}"
    + "{% for x in b %}" * 3
    + "{{ b }}"
    + "{% endfor %}" * 3
    + "{% endwith %}",
    "{% if a %}" * 1_500,
    "{% if a %}" * 900 + "{% endif %}" * 900,
    "{% if " + "not " * 240 + "a %}{% endif %}",
    "{#" * 9_000,
    "{% comment %}" * 1_400,
    "{{" * 9_000,
    "{%" * 9_000,
    "{% " * 6_000,
    "}}%}" * 4_000,
    "{% for a in list %}" * 60,
    "{% for " + "a," * 400 + "b in list %}{% endfor %}",
    "{% with " + "a=1 " * 240 + "%}{% endwith %}",
    "{% with a='" + "x" * 900 + " %}{% endwith %}",
    "{% elif %}{% else %}{% endif %}",
    "{% for x in list %}{% empty %}{% empty %}{% endfor %}",
    "{{ state }}{{ payload }}{{ object }}{{ now }}",
]


def _endless() -> Iterator[int]:
    while True:
        yield 1


def _function() -> str:
    raise AssertionError("an expression called a function")


@pytest.fixture
def scope(db: None, settings: Settings, now: datetime) -> Scope:
    settings.SECRET_KEY = "DJANGO-SECRET"
    settings.FLOWCONTROL = {
        "EXPRESSION_FIELDS": {
            "auth.user": ["username", "password", "groups", "delete", "set_password", "logentry"],
            "sessions.session": ["session_key", "expire_date", "get_decoded"],
        }
    }
    user = User.objects.create(username="ann", password=PASSWORD_HASH, email="ann@example.com")
    user.groups.add(Group.objects.create(name="staff"))
    kind = ContentType.objects.get_for_model(User)
    entry = LogEntry.objects.create(
        user=user, content_type=kind, object_id=str(user.pk), object_repr="ann", action_flag=1
    )
    session = Session.objects.create(
        session_key=SESSION_KEY, session_data=PASSWORD_HASH, expire_date=now
    )
    return Scope(obj=entry, state=_state(), payload=_payload(user, session), now=now)


@pytest.fixture
def writes(scope: Scope) -> Iterator[list[str]]:
    """Yield what is sent to the database from now on, but for reading; the rows stay as they are.

    Reading all of them after each attack would take longer than the attacks.
    """
    sent: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if not sql.startswith("SELECT"):
            sent.append(sql)
        return execute(sql, *rest)

    before = _rows()
    with connection.execute_wrapper(note):
        yield sent
    assert _rows() == before


def _rows() -> list[list[Any]]:
    return [list(model._default_manager.values()) for model in (User, LogEntry, Session)]


def _state() -> dict[str, Any]:
    return {
        "name": "name",
        "list": list(range(100)),
        "items": [{"name": "pen"}],
        "bomb": "x" * 1_000,
        "long": "y" * 20_000,
        "needle": "y" * 9_999 + "z",
        "big": [list(range(5_000))],
        "big_too": [list(range(5_000))],
    }


def _payload(user: User, session: Session) -> dict[str, Any]:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    cyclic_too: list[Any] = []
    cyclic_too.append(cyclic_too)
    return {
        "user": user,
        "users": [user],
        "queryset": User.objects.all(),
        "session": session,
        "sessions": [session],
        "function": _function,
        "module": sys.modules["os"],
        "endless": _endless(),
        "cyclic": cyclic,
        "cyclic_too": cyclic_too,
    }


def _anew(scope: Scope) -> Scope:
    """Return the scope with objects that no attack has touched: the cases share the database."""
    entry = LogEntry.objects.select_related("user").get()
    payload = _payload(entry.user, Session.objects.get())
    return Scope(obj=entry, state=_state(), payload=payload, now=scope.now)


def _assert_harmless(result: object, scope: Scope, writes: list[str], seconds: float) -> None:
    shown = f"{result!r} {result}" if not isinstance(result, Session) else ""
    assert not [secret for secret in SECRETS if secret in shown]
    assert len(shown) < 3_000_000
    assert seconds < SECONDS
    assert scope.state == _state()
    assert writes == []
    assert not callable(result)


@each("text", EXPRESSIONS)
def test_attack_by_expression_does_no_harm(scope: Scope, writes: list[str], text: str) -> None:
    scope = _anew(scope)
    began = time.monotonic()
    result: object
    try:
        compiled = compile_expression(text)
        result = compiled.evaluate(scope)
        compiled.test(scope)
    except ExpressionError as error:
        result = error.message
    _assert_harmless(result, scope, writes, time.monotonic() - began)


@each(["text", "html"], product(TEMPLATES, [False, True]))
def test_attack_by_template_does_no_harm(
    scope: Scope, writes: list[str], text: str, html: bool
) -> None:
    scope = _anew(scope)
    began = time.monotonic()
    try:
        result = compile_template(text, html=html).evaluate(scope)
    except ExpressionError as error:
        result = error.message
    assert len(result) <= 100_000
    _assert_harmless(result, scope, writes, time.monotonic() - began)


@each("text", TEMPLATES[:17])
def test_tag_that_is_not_allowed_does_not_compile(text: str) -> None:
    with pytest.raises(ExpressionError, match="There is no tag"):
        compile_template(text)


def test_bait_is_real(scope: Scope) -> None:
    """Django's own engine, given the same values, does give the secrets away."""
    context = Context({"object": scope.obj, "payload": scope.payload, "state": _state()})
    engine = Engine()
    for text, secret in {
        "{{ object.user.password }}": PASSWORD_HASH,
        "{{ payload.session.session_key }}": SESSION_KEY,
        "{{ payload.session.pk }}": SESSION_KEY,
        "{{ object.user.groups.all.0.user_set.all.0.password }}": PASSWORD_HASH,
    }.items():
        assert secret in engine.from_string(text).render(context)
    state = {"a": 1}
    engine.from_string("{{ state.clear }}").render(Context({"state": state}))
    assert state == {}


def test_session_object_handed_out_whole_is_for_actions_only(scope: Scope) -> None:
    """A path to an object gives the object itself; what can be looked up in it stays bounded."""
    assert isinstance(compile_expression("payload.session").evaluate(scope), Session)
    assert compile_expression("payload.session.session_key").evaluate(scope) is None
