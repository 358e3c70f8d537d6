"""Progress as one line on standard error, written only where that is a terminal."""

from __future__ import annotations

from typing import IO

from django.core.management.base import OutputWrapper

_WIDTH = 30


class Progress:
    """Draws one line again and again; ``close`` removes it before anything else is written."""

    def __init__(self, stream: OutputWrapper | IO[str]) -> None:
        self._stream = stream
        self._is_shown = bool(getattr(stream, "isatty", lambda: False)())
        self._drawn = 0

    def show(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Draw a text, after a bar where the total is known."""
        if not self._is_shown:
            return
        line = f"{_bar(done, total)}{text}"
        self._write(f"\r{line}{' ' * (self._drawn - len(line))}")
        self._drawn = len(line)

    def close(self) -> None:
        """Remove the line."""
        if self._drawn:
            self._write(f"\r{' ' * self._drawn}\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        if isinstance(self._stream, OutputWrapper):
            # Otherwise it would be in the colour of errors.
            self._stream.write(text, style_func=str, ending="")
        else:
            self._stream.write(text)
        self._stream.flush()


def _bar(done: int, total: int | None) -> str:
    if not total:
        return ""
    filled = min(_WIDTH, done * _WIDTH // total)
    return f"[{'#' * filled}{'.' * (_WIDTH - filled)}] "
