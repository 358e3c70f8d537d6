"""The state of one run: a dictionary of JSON values that notices its changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from enum import Enum
from typing import Any

from flowcontrol_core import bounds
from flowcontrol_core.engine.codec import decode, encode, normalize, private_copy
from flowcontrol_core.errors import StateError, gettext
from flowcontrol_core.redaction import IN_USE

Change = tuple[Any, Any]
_CONTAINERS = (list, dict)


class NoValue(Enum):
    """Stands in a change for "was not there" and "is gone"; a copy of it is itself."""

    NO_VALUE = "no value"


NO_VALUE: Any = NoValue.NO_VALUE


class State(MutableMapping[str, Any]):
    """The values of a run, private to it.

    A value becomes JSON when it is assigned (see ``codec``), so it means the same before and
    after a suspension. Containers may be changed in place; that is noticed at the end of the step.
    """

    __slots__ = ("_before", "_lent", "_sizes", "_total", "_values", "max_bytes")

    def __init__(
        self, values: Mapping[str, Any] | None = None, *, max_bytes: int = bounds.STATE_BYTES
    ) -> None:
        self.max_bytes = max_bytes
        self._before: dict[str, Any] = {}
        self._lent: set[str] = set()
        self._set(_normalized(values or {}))
        self._refuse_oversize(self._total)

    @classmethod
    def from_json(cls, data: Any, *, max_bytes: int = bounds.STATE_BYTES) -> State:
        """Return a stored state; raises StateError where it is not a JSON object."""
        if not isinstance(data, dict):
            text = gettext(
                "The stored state is a %(type)s, not a JSON object. Correct it with the operator "
                "action “Edit state”, then retry the run."
            )
            raise StateError(text % {"type": type(data).__name__})
        state = cls(max_bytes=max_bytes)
        state._set({key: decode(value) for key, value in data.items()})
        return state

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {key: encode(value) for key, value in self._values.items()}

    def snapshot(self) -> Any:
        """Return all values, for ``restore``."""
        return private_copy(self._values)

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot: what came after it was rolled back."""
        self._set(private_copy(snapshot))
        self._before, self._lent = {}, set()

    def take_changes(self) -> dict[str, Change]:
        """Return what changed since the last call, as ``{key: (before, after)}``, and forget it.

        Raises StateError, and forgets nothing, where a container was given a value that cannot be
        stored, or the state has become too large.
        """
        if not self._before and not self._lent:
            return {}
        for key in self._lent & self._values.keys():
            self._values[key] = normalize(self._values[key], f"state.{key}", 1)
        changes = {}
        for key, before in self._before.items():
            after = self._values.get(key, NO_VALUE)
            if before is not after and before != after:
                changes[key] = (before, private_copy(after))
        self._measure(changes)
        self._before, self._lent = {}, set()
        return changes

    def undo_changes(self) -> None:
        """Go back to the values at the last ``take_changes``: the step failed."""
        for key, before in self._before.items():
            if before is NO_VALUE:
                self._values.pop(key, None)
            else:
                self._values[key] = before
        self._before, self._lent = {}, set()

    def give_back(self, hidden: Mapping[str, list[Any]]) -> None:
        """Set keys to what their variables hid: a list of the value, empty where there was none.

        For a state without changes. It does not count as one, and is never too much: the state had
        it before.
        """
        for key, value in hidden.items():
            self._total -= self._sizes.pop(key, 0)
            self._values.pop(key, None)
            for item in value:
                self._values[key] = private_copy(item)
                self._sizes[key] = _size(key, item)
                self._total += self._sizes[key]

    def replace(self, values: Mapping[str, Any]) -> None:
        """Set all values at once, dropping the present ones."""
        fresh = _normalized(values)
        for key in [key for key in self._values if key not in fresh]:
            del self[key]
        for key, value in fresh.items():
            self._remember(key)
            self._values[key] = value

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if type(value) in _CONTAINERS:
            self._remember(key)
            self._lent.add(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise StateError(gettext("The key %(key)r of the state is not text.") % {"key": key})
        # Most keys are names as those of Python, which have nothing that a database refuses.
        if IN_USE.get() or not key.isidentifier():
            key = normalize(key)
        value = normalize(value, f"state.{key}", 1)
        self._remember(key)
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._remember(key)
        del self._values[key]

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, set first where it is missing: the state's own, not a copy."""
        if key not in self._values:
            self[key] = default
        return self[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __repr__(self) -> str:
        return f"State({self._values!r})"

    def peek(self) -> Mapping[str, Any]:
        """Return the values for reading only, without recording that containers were handed out."""
        return self._values

    def _set(self, values: dict[str, Any]) -> None:
        self._values = values
        self._sizes = {key: _size(key, value) for key, value in values.items()}
        self._total = sum(self._sizes.values())

    def _measure(self, changes: Mapping[str, Change]) -> None:
        """Count the size key by key: measuring all of it at each step would be slow."""
        sizes, total = {}, self._total
        for key, (_, after) in changes.items():
            sizes[key] = 0 if after is NO_VALUE else _size(key, after)
            total += sizes[key] - self._sizes.get(key, 0)
        if total > self._total:
            self._refuse_oversize(total)
        self._sizes.update(sizes)
        self._total = total

    def _refuse_oversize(self, total: int) -> None:
        if total > self.max_bytes:
            text = gettext(
                "The state would have %(bytes)d bytes, more than the %(limit)d allowed. "
                "Store large data in a model and its key in the state."
            )
            raise StateError(text % {"bytes": total, "limit": self.max_bytes})

    def _remember(self, key: str) -> None:
        if key not in self._before:
            self._before[key] = private_copy(self._values.get(key, NO_VALUE))


def _normalized(values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise StateError(
            gettext("The state must be a mapping, not a %(type)s.")
            % {"type": type(values).__name__}
        )
    normalized: dict[str, Any] = normalize(values)
    return normalized


def _size(key: str, value: Any) -> int:
    """Return the bytes that a key and its value take as JSON."""
    if type(value) is int or value is None or type(value) is bool:
        length = len(str(value))
    else:
        length = len(json.dumps(encode(value), ensure_ascii=False).encode())
    return len(key) + length + 6
