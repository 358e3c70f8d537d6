"""Triggers: events declared in Python that staff associate with flows in the admin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django import forms
from django.db.models import Model
from django.utils.functional import Promise

from flowcontrol_core.actions.config import BoundConfig


class Dispatcher(Protocol):
    """What fires triggers: the runtime puts itself here when the site starts."""

    def fire(
        self,
        trigger: Trigger,
        obj: Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> None: ...

    def is_listened_to(self, key: str) -> bool: ...


class _Unconnected:
    """Stands in before the site has started: nobody listens yet."""

    def fire(
        self,
        trigger: Trigger,
        obj: Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> None:
        return None

    def is_listened_to(self, key: str) -> bool:
        return False


@dataclass(slots=True)
class Connection:
    """The one place that connects triggers with the runtime."""

    dispatcher: Dispatcher = field(default_factory=_Unconnected)


connection = Connection()

Accepts = Callable[[BoundConfig, Any, Mapping[str, Any]], bool]


@dataclass(eq=False, slots=True, kw_only=True)
class Trigger:
    """An event that can start, wake or send back runs.

    ``name`` is the second part of the key ``<plugin>.<name>`` (dots allowed); ``model`` is the
    label (``app_label.model``) of the objects it comes with; ``payload`` describes the keys of
    its payload; ``Config`` and ``accepts`` let staff narrow it down in the admin.
    """

    name: str
    label: str | Promise
    description: str | Promise = ""
    model: str = ""
    payload: Mapping[str, str | Promise] = field(default_factory=dict)
    Config: type[forms.Form] = forms.Form
    accepts: Accepts | None = None
    key: str = ""

    def fire(
        self,
        obj: Model | None = None,
        payload: Mapping[str, Any] | None = None,
        *,
        unique_key: str = "",
    ) -> None:
        """Tell the flows that it happened; never raises because of a flow's or engine's fault.

        Inside a transaction the runs are created in it and execute after its commit. A second
        event with the same ``unique_key`` is ignored.
        """
        connection.dispatcher.fire(self, obj, payload, unique_key)

    __call__ = fire

    def is_listened_to(self) -> bool:
        """Say whether any flow or waiting run is interested (cached, costs no query as a rule)."""
        return connection.dispatcher.is_listened_to(self.key)
