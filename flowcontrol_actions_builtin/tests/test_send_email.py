"""Send e-mail: what the message contains, and which failures are retried."""

from __future__ import annotations

import errno
import smtplib
import socket
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from flowcontrol.base import RunContext
from flowcontrol.errors import Retry
from flowcontrol_actions_builtin.addresses import domain_of, split_addresses, staff_addresses
from flowcontrol_actions_builtin.delivery import is_temporary
from flowcontrol_actions_builtin.errors import ActionError
from flowcontrol_actions_builtin.mail import SendEmail
from tests.cases import each

PLAIN = {"to": "ann@example.com", "subject": "Hello", "text": "A text"}


def sent() -> Any:
    assert len(mail.outbox) == 1
    return mail.outbox[0]


def test_a_message_has_what_was_configured(call: Any, run: RunContext) -> None:
    run.state.update({"name": "Ann", "boss": "boss@example.com"})
    call(
        SendEmail,
        to="ann@example.com, Bob <bob@example.com>",
        cc="{{ state.boss }}",
        bcc="archive@example.com",
        subject="Hello {{ name }}",
        text="Dear {{ name }}",
        from_email="Shop <shop@example.org>",
        reply_to="help@example.org",
    )
    message = sent()
    assert message.to == ["ann@example.com", "Bob <bob@example.com>"]
    assert message.cc == ["boss@example.com"]
    assert message.bcc == ["archive@example.com"]
    assert message.subject == "Hello Ann"
    assert message.body == "Dear Ann"
    assert message.from_email == "Shop <shop@example.org>"
    assert message.reply_to == ["help@example.org"]
    assert message.alternatives == []
    assert run.messages == [
        "Sent to ann@example.com, Bob <bob@example.com>, boss@example.com, archive@example.com."
    ]


def test_plain_text_is_not_escaped_and_html_is(call: Any, run: RunContext) -> None:
    run.state["name"] = "Tom & <Jerry>"
    call(
        SendEmail,
        to="ann@example.com",
        subject="For {{ name }}",
        text="Dear {{ name }}",
        html="<p>Dear {{ name }}</p>",
    )
    message = sent()
    assert message.subject == "For Tom & <Jerry>"
    assert message.body == "Dear Tom & <Jerry>"
    ((html, kind),) = message.alternatives
    assert (html, kind) == ("<p>Dear Tom &amp; &lt;Jerry&gt;</p>", "text/html")


def test_the_message_id_is_the_same_on_every_attempt(call: Any, run: RunContext) -> None:
    call(SendEmail, **PLAIN, from_email="shop@example.org")
    run.attempt = 2
    call(SendEmail, **PLAIN, from_email="shop@example.org")
    first, second = (message.message()["Message-ID"] for message in mail.outbox)
    assert first == second == f"<{run.idempotency_key}@example.org>"


@pytest.mark.parametrize(
    "managers",
    [
        [("Ann", "ann@example.com"), ("Bob", "bob@example.com")],
        [["Ann", "ann@example.com"], ["Bob", "bob@example.com"]],
        ["ann@example.com", "bob@example.com"],
    ],
)
def test_managers_and_admins_in_their_old_and_new_form(managers: Any) -> None:
    assert staff_addresses(managers) == ["ann@example.com", "bob@example.com"]


def test_mail_to_managers_and_admins_goes_to_each_once(call: Any, settings: Any) -> None:
    settings.MANAGERS = [("Ann", "ann@example.com")]
    settings.ADMINS = [("Ann", "ann@example.com"), ("Bob", "bob@example.com")]
    call(SendEmail, to_groups=["managers", "admins"], subject="Hello", text="A text")
    assert sent().to == ["ann@example.com", "bob@example.com"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann@example.com", ["ann@example.com"]),
        (["ann@example.com", "bob@example.com"], ["ann@example.com", "bob@example.com"]),
        ("ann@example.com,bob@example.com", ["ann@example.com", "bob@example.com"]),
    ],
)
def test_recipients_can_be_computed(
    call: Any, run: RunContext, value: Any, expected: list[str]
) -> None:
    run.state["recipients"] = value
    call(SendEmail, to_expression="recipients", subject="Hello", text="A text")
    assert sent().to == expected


def test_computed_recipients_may_be_missing_where_there_are_others(call: Any) -> None:
    call(SendEmail, **PLAIN, to_expression="state.missing")
    assert sent().to == ["ann@example.com"]


def test_the_address_of_the_object_is_a_recipient(call: Any) -> None:
    customer = {"email": "ann@example.com"}
    call(SendEmail, obj=customer, to_expression="object.email", subject="Hello", text="A text")
    assert sent().to == ["ann@example.com"]


def test_no_recipients_are_a_clear_error(call: Any) -> None:
    with pytest.raises(ActionError, match="no recipients"):
        call(SendEmail, to="{{ state.missing }}, ", subject="Hello", text="A text")
    assert mail.outbox == []


@pytest.mark.parametrize("field", ["subject", "to", "cc", "bcc", "from_email", "reply_to"])
@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_a_line_break_in_a_header_is_refused(
    call: Any, run: RunContext, field: str, newline: str
) -> None:
    run.state["value"] = f"a@example.com{newline}Bcc: b@example.com"
    with pytest.raises(ActionError, match="line break"):
        call(SendEmail, **{**PLAIN, field: "{{ value }}"})
    assert mail.outbox == []


@each(
    "text",
    [
        "ann",
        "ann@",
        "@x.org",
        "Ann ann@x.org bob@x.org",
        "ann@x.org; bob@x.org",
        "<>",
        "Doe, Ann <ann@x.org>",
    ],
)
def test_anything_but_an_address_is_a_clear_error(text: str) -> None:
    with pytest.raises(ActionError, match="invalid e-mail address"):
        split_addresses(text, "To")


def test_names_with_commas_and_other_letters_stay_one_recipient() -> None:
    assert split_addresses('"Doe, Ann" <ann@example.com>', "To") == ['"Doe, Ann" <ann@example.com>']
    assert split_addresses("Jörg <j@example.com>, ", "To") == ["Jörg <j@example.com>"]
    assert split_addresses(", ,", "To") == []


@pytest.mark.parametrize("value", [7, {"a": 1}, ["a@example.com", 7]])
def test_computed_recipients_other_than_texts_are_a_clear_error(
    call: Any, run: RunContext, value: Any
) -> None:
    run.state["recipients"] = value
    with pytest.raises(ActionError, match="an address or a list of addresses"):
        call(SendEmail, to_expression="recipients", subject="Hello", text="A text")


@each(
    ("sender", "domain"),
    [
        ("shop@example.org", "example.org"),
        ("Shop <shop@example.org>", "example.org"),
        ("shop@bücher.example", "xn--bcher-kva.example"),
        ("root", "localhost"),
        ("shop@a..b", "localhost"),
    ],
)
def test_the_domain_of_the_sender_is_plain_ascii(sender: str, domain: str) -> None:
    assert domain_of(sender) == domain


TEMPORARY = [
    smtplib.SMTPServerDisconnected("gone"),
    smtplib.SMTPConnectError(421, b"busy"),
    smtplib.SMTPDataError(451, b"try later"),
    smtplib.SMTPSenderRefused(450, b"greylisted", "a@example.com"),
    smtplib.SMTPRecipientsRefused({"a@example.com": (450, b"greylisted")}),
    ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    TimeoutError("slow"),
    socket.gaierror(-3, "name resolution"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
]
PERMANENT = [
    smtplib.SMTPAuthenticationError(535, b"no"),
    smtplib.SMTPDataError(554, b"spam"),
    smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"unknown")}),
    smtplib.SMTPRecipientsRefused({"a@x.org": (450, b"later"), "b@x.org": (550, b"unknown")}),
    smtplib.SMTPNotSupportedError("SMTPUTF8"),
    PermissionError(errno.EACCES, "denied"),
]


@pytest.mark.parametrize("error", TEMPORARY, ids=repr)
def test_a_temporary_failure_is_retried(
    call: Any, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    assert is_temporary(error)
    monkeypatch.setattr(EmailBackend, "send_messages", raising(error))
    with pytest.raises(Retry) as caught:
        call(SendEmail, **PLAIN)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_a_permanent_failure_fails_the_step(
    call: Any, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    assert not is_temporary(error)
    monkeypatch.setattr(EmailBackend, "send_messages", raising(error))
    with pytest.raises(type(error)):
        call(SendEmail, **PLAIN)


def raising(error: OSError) -> Any:
    def send_messages(backend: object, messages: object) -> int:
        raise error

    return send_messages


def test_the_form_asks_for_a_recipient(errors_of: Any) -> None:
    assert list(errors_of(SendEmail, subject="Hello", text="A text")) == ["to"]


def test_a_bad_placeholder_is_found_in_the_form(errors_of: Any) -> None:
    assert list(errors_of(SendEmail, **{**PLAIN, "text": "Dear {{ name"})) == ["text"]


def test_the_summary_is_a_plain_sentence(bound: Any) -> None:
    config = bound(SendEmail, **PLAIN, to_groups=["admins"])
    expected = "Send the e-mail “Hello” to ann@example.com, the administrators of the site (ADMINS)"
    assert SendEmail().summary(config) == expected
