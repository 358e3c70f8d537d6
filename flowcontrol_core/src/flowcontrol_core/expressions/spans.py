"""Where in a text something stands, so that an error can mark it."""

from __future__ import annotations

from dataclasses import dataclass

from flowcontrol_core.errors import ExpressionError, gettext


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of ``source``, in characters from 0."""

    source: str
    position: int
    length: int

    @property
    def text(self) -> str:
        """The marked stretch itself."""
        return self.source[self.position : self.position + self.length]

    def error(self, message: str, **values: object) -> ExpressionError:
        """Return the error to raise, with this span marked; the values fill the message."""
        return ExpressionError(
            message % values if values else message,
            source=self.source,
            position=self.position,
            length=self.length,
        )

    def failure(self, what: str, error: BaseException) -> ExpressionError:
        """Return the error to raise when code that was called for this span failed."""
        if isinstance(error, ExpressionError):
            return error if error.source else self.error(error.message)
        return self.error(f"{what}: {type(error).__name__}: {error}")


def marked(message: str, span: Span) -> str:
    """Return a message with the place that it is about."""
    if not span.text:
        return message
    text = gettext("%(message)s (at character %(number)d: %(text)r)")
    return text % {"message": message, "number": span.position + 1, "text": span.text}


def too_large(message: str, size: int, limit: int) -> ExpressionError:
    """Return the error for a value above its bound; the message names both numbers."""
    return ExpressionError(message % {"n": f"{size:,}", "limit": f"{limit:,}"})
