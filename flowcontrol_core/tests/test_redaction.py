"""Secrets are known by their names, by their form, or as such, and found in any spelling."""

from __future__ import annotations

import base64
import html
import json
import time
import urllib.parse

import pytest
from django.test import override_settings

from flowcontrol.redaction import (
    HIDDEN,
    is_secret,
    is_secret_field,
    redact,
    redact_json,
    secrets_in,
)
from flowcontrol_core import bounds
from flowcontrol_core.redaction import hiding, secret_in
from tests.cases import each

KEYS = [
    *("password", "passwd", "db_password", "user-password", "passwordHash", "passphrase"),
    *("passcode", "token", "access_token", "accessToken", "secret", "client_secret", "session"),
    *("sessionid", "credential", "credentials", "authorization", "Authorization", "cookie"),
    *("Set-Cookie", "bearer", "bearer_token", "pwd", "db_pwd", "otp", "otp_code", "totp", "hotp"),
    *("jwt", "JWT", "pin", "PIN", "pins", "card_pin", "salt", "cvc", "cvv", "api_key", "apiKey"),
    *("apikey", "X-API-Key", "private_key", "privateKey", "access_key", "ssh_key", "sshkey"),
    *("signing_key", "encryption_key", "auth_code", "authCode", "authcode"),
]
HARMLESS = [
    *("name", "spin", "hotpot", "asphalt", "saltwater", "opinion", "pinned", "key", "monkey"),
    *("author", "authority", "code", "zip_code", "public_key", "access", "keyboard", "company"),
    *("jwtx", "total"),
]


@each("name", KEYS)
def test_what_stands_under_the_name_of_a_secret_is_hidden_everywhere(name: str) -> None:
    assert is_secret(name)
    assert is_secret_field(name)
    assert redact_json({name: "Wert", "total": 3}) == {name: HIDDEN, "total": 3}
    assert list(secrets_in({"deep": [{name: "Wert"}]})) == ["Wert"]
    assert "Wert1234" not in redact(f"error: {name}=Wert1234 order=7")
    assert "Wert1234" not in redact(json.dumps({name: "Wert1234", "order": 7}))
    assert "Wert1234" not in redact(repr({name: "Wert1234", "order": 7}))


@each("name", HARMLESS)
def test_what_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert not is_secret(name)
    assert redact(f"{name}=Wert1234") == f"{name}=Wert1234"


def test_a_setting_adds_names_in_any_joint_and_takes_them_back() -> None:
    names = ["iban", "taxId", "tax_id", "customer_tax_id", "TAX-ID"]
    assert not any(map(is_secret, names))
    with override_settings(FLOWCONTROL={"SECRET_NAMES": ["iban", "tax_id"]}):
        assert all(map(is_secret, names))
        assert redact("iban: DE02120300000000202051, taxId=123/456") == (
            f"iban: {HIDDEN}, taxId={HIDDEN}"
        )
        assert is_secret("password")
        assert not is_secret("caliban")
    assert not any(map(is_secret, names))


def test_whatever_is_inside_of_a_secret_is_one() -> None:
    value = {"credentials": {"user": "adalove", "parts": ["first", {"n": 123456}]}, "n": 7}
    assert sorted(secrets_in(value)) == ["123456", "adalove", "first"]
    assert redact_json(value) == {"credentials": HIDDEN, "n": 7}


@each(
    ["text", "shown"],
    [
        ("Authorization: Bearer abc.DEF", "Authorization: Bearer •••"),
        ("{'Authorization': 'Basic dXNl'}", "{'Authorization': 'Basic •••'}"),
        ("pwd=hunter2 otp: 123456", "pwd=••• otp: •••"),
        ("db_pwd=hunter2 x=1", "db_pwd=••• x=1"),
        ('jwt="ey.J", api_key=abc', 'jwt="•••", api_key=•••'),
        ("spin=5 hotpot: 7", "spin=5 hotpot: 7"),
        ("a session is a word", "a session is a word"),
        ('{"password": "correct horse battery"}', '{"password": "•••"}'),
        (r'"{\"password\": \"correct horse\", \"n\": 1}"', r'"{\"password\": \"•••\", \"n\": 1}"'),
        (r'{"password": "a\"b c"}', '{"password": "•••"}'),
        ("Cookie: sid=abc; theme=dark\nHost: x", "Cookie: •••\nHost: x"),
        ("got 401 for Bearer ya29.a0AfH6SMBx", "got 401 for Bearer •••"),
        ("the bearer of this letter", "the bearer of this letter"),
        ("postgres://app:s3cr3t/x@db:5432/shop", "postgres://app:•••@db:5432/shop"),
        ("amqp://guest:guest@localhost//", "amqp://guest:•••@localhost//"),
        ("https://shop.example/a?b=1#me@home", "https://shop.example/a?b=1#me@home"),
        ("sent eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl on", "sent ••• on"),
        ("password => hunter2", "password => •••"),
    ],
)
def test_secrets_are_found_by_their_name_or_their_form(text: str, shown: str) -> None:
    assert redact(text) == shown


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


@each("text", [PEM, repr(PEM), json.dumps({"pem": PEM}), PEM[:60]])
def test_a_block_of_pem_is_hidden_also_without_its_end(text: str) -> None:
    shown = redact(f"before {text} after")
    assert "MIIEow" not in shown
    assert shown.startswith("before ")


TRICKY = "pä'ss\"w\\ord &<x>/+=\n%42"


def spelled(secret: str) -> dict[str, str]:
    """Return the texts that a library would write, made here in their own way."""
    raw = secret.encode()
    return {
        "raw": secret,
        "repr": repr(secret),
        "ascii": ascii([secret]),
        "bytes": repr(raw),
        "JSON": json.dumps({"x": secret}),
        "JSON in UTF-8": json.dumps({"x": secret}, ensure_ascii=False),
        "JSON in JSON": json.dumps(json.dumps({"x": secret})),
        "HTML": html.escape(f"<b>{secret}</b>"),
        "URL": "https://x/?q=" + urllib.parse.quote(secret, safe=""),
        "form": urllib.parse.urlencode({"q": secret}),
        "base64": base64.b64encode(raw).decode(),
        "URL-safe base64": base64.urlsafe_b64encode(raw).decode(),
        "Basic": base64.b64encode(b"ada:" + raw).decode(),
        "inside base64": base64.b64encode(b"ab" + raw + b"rest").decode(),
        "hex": raw.hex(),
    }


@pytest.mark.parametrize("secret", [TRICKY, "Zk9-plain_0123456789", "Ünïcödé-Schlüssel"])
def test_a_known_secret_is_found_in_any_spelling(secret: str) -> None:
    for kind, text in spelled(secret).items():
        with hiding({"sms": secret}):
            in_call = redact(f"failed: {text} !")
        for shown in (redact(f"failed: {text} !", [secret]), in_call):
            assert HIDDEN in shown, kind
            assert secret[:6] not in shown, kind
            assert base64.b64encode(secret.encode()).decode()[:12] not in shown, kind
        assert redact("sms") == "sms"


def test_only_the_secrets_of_the_present_call_are_known() -> None:
    with hiding({"sms": "hunter-22"}):
        assert secret_in("Bearer hunter-22") == "sms"
        assert secret_in(base64.b64encode(b"hunter-22").decode()) == "sms"
        with hiding({"pay": "abc1"}):
            assert (secret_in("abc1"), secret_in("xabc1")) == ("pay", "")
            assert secret_in("hunter-22") == ""
        assert secret_in("hunter") == ""
    assert secret_in("hunter-22") == ""


def test_a_long_text_is_cut_where_no_secret_is_cut_in_two() -> None:
    half = bounds.REDACTED_CHARACTERS // 2
    for shift in range(0, 24, 3):
        line = "x" * 99 + "\n"
        text = line * (half // 100 - 1)
        text = text[: half - shift] + " hunter-2233445566 " + line * 2_000
        shown = redact(text, ["hunter-2233445566"])
        assert len(shown) <= bounds.REDACTED_CHARACTERS
        assert "hunter" not in shown
        assert "5566" not in shown


@each(
    "part",
    [
        "password=", "-----BEGIN A-----", "a://b:c", "token: '", "Bearer 1", "eyJaaaaa.",
        "cookie: a=", "password" * 5, "\\" * 7, "://", 'secret="\\', "x" * 50,
        "=" * 30, "api_", "A" * 41,
    ],
)  # fmt: skip
def test_the_time_is_bounded_whatever_the_text(part: str) -> None:
    text = part * (3_000_000 // len(part))
    begun = time.perf_counter()
    redact(text, ["hunter-2233445566", TRICKY])
    assert time.perf_counter() - begun < 2.0


def test_many_secrets_cost_little() -> None:
    begun = time.perf_counter()
    redact("x" * 1_000_000, (f"secret number {n}" for n in range(100_000)))
    assert time.perf_counter() - begun < 5.0
