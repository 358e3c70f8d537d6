"""Secrets that are planted for the whole test session, and what watches that none of them appears.

Read are: each response of Django's test client, each log record that is made, with its traceback,
each mail, and each export of flows. What is in rows, a test asks for with `assert_absent`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client

from flowcontrol_core.flows import yaml_text
from flowcontrol_core.redaction import spellings

#: The value of the secret that documents name, in the environment of all tests.
NAME, RESOLVED = "planted", "Plänted/resolved+0123456789=\"&'"
#: A value in a state, and one in a payload, each under the name of a secret.
IN_STATE, IN_PAYLOAD = "planted-state-0123456789", "planted-payload-0123456789"

_FORMS = tuple(form for value in (RESOLVED, IN_STATE, IN_PAYLOAD) for form in spellings(value))
_FORMS_OF_RESOLVED = spellings(RESOLVED)


@dataclass(slots=True)
class Watch:
    """Reads texts, and notes where a planted secret was found, and how many it has read."""

    leaks: list[str] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)

    def look_for(self, text: str, where: str, kind: str) -> None:
        self.read[kind] = self.read.get(kind, 0) + 1
        if any(form in text for form in _FORMS):
            self.leaks.append(where)


watch = Watch()


def assert_absent(text: str) -> None:
    """Fail where a text has the value of the secret that documents name, in any spelling."""
    found = [form for form in _FORMS_OF_RESOLVED if form in text]
    assert not found, found


def _client(original: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Client, **environment: Any) -> Any:
        response = original(self, **environment)
        content = b"" if response.streaming else response.content
        text = f"{response.headers}\n{content.decode(errors='replace')}"
        watch.look_for(text, f"the response of {environment.get('PATH_INFO')}", "responses")
        return response

    return request


def _record(original: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = original(*args, **kwargs)
        error = record.exc_info[1] if record.exc_info else None
        lines = traceback.format_exception(error) if error else []
        watch.look_for("".join([str(record.msg), repr(record.args), *lines]), record.name, "logs")
        return record

    return make


def _mail(original: Callable[..., Any]) -> Callable[..., Any]:
    def send_messages(self: Any, messages: Any) -> Any:
        for message in messages:
            watch.look_for(str(message.message()), f"the mail “{message.subject}”", "mails")
        return original(self, messages)

    return send_messages


def _export(original: Callable[..., str]) -> Callable[..., str]:
    def dump(data: Any) -> str:
        text = original(data)
        watch.look_for(text, "an export", "exports")
        return text

    return dump


@contextmanager
def planted() -> Iterator[None]:
    """Plant the secret that documents name, and watch all that leaves the process."""
    factory = logging.getLogRecordFactory()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWCONTROL_SECRET_PLANTED", RESOLVED)
        patch.setattr(Client, "request", _client(Client.request))
        patch.setattr(EmailBackend, "send_messages", _mail(EmailBackend.send_messages))
        patch.setattr(yaml_text, "dump", _export(yaml_text.dump))
        logging.setLogRecordFactory(_record(factory))
        try:
            yield
        finally:
            logging.setLogRecordFactory(factory)
