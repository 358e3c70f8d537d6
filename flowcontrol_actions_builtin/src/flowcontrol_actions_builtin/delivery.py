"""Temporary and permanent failures of a mail server."""

from __future__ import annotations

import errno
import smtplib
import socket

_UNREACHABLE = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH})


def is_temporary(error: OSError) -> bool:
    """Return whether sending the same message again later may succeed.

    Temporary are a lost or refused connection and the codes 4xx (RFC 5321, section 4.2.1). The
    errors of smtplib are OSErrors too.
    """
    if isinstance(error, smtplib.SMTPResponseException):
        return _is_temporary_code(error.smtp_code)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(_is_temporary_code(code) for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPException):
        return isinstance(error, smtplib.SMTPServerDisconnected)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    return error.errno in _UNREACHABLE


def _is_temporary_code(code: int) -> bool:
    return 400 <= code < 500
