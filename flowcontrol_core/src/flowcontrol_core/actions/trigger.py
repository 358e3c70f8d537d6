"""Triggers: events declared in Python that staff associate with flows in the admin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django import forms
from django.db.models import Model
from django.utils.asyncio import async_unsafe
from django.utils.functional import Promise


class TriggerReceiver(Protocol):
    """What receives fired triggers: the engine, once the site has started."""

    def fire(
        self,
        trigger: Trigger,
        obj: Model | None,
        payload: Mapping[str, Any] | None,
        unique_key: str,
    ) -> object: ...

    def is_listened_to(self, key: str) -> bool: ...


@dataclass(slots=True)
class TriggerConnection:
    """The one place that connects triggers with the engine; None until the site has started."""

    receiver: TriggerReceiver | None = None


connection = TriggerConnection()

#: Of (configuration, object, payload): whether a flow trigger with that configuration accepts it.
Accepts = Callable[[Any, Any, Mapping[str, Any]], bool]


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

    @async_unsafe("Firing a trigger asks the database. In async code, await its afire() instead.")
    def fire(
        self,
        obj: Model | None = None,
        payload: Mapping[str, Any] | None = None,
        *,
        unique_key: str = "",
    ) -> None:
        """Notify the flows that it happened; never raises because of a flow's or engine's fault.

        Inside a transaction the runs are created in it and execute after its commit. A second
        event with the same ``unique_key`` is ignored. Raises SynchronousOnlyOperation where an
        event loop is running.
        """
        if connection.receiver is not None:
            connection.receiver.fire(self, obj, payload, unique_key)

    __call__ = fire

    async def afire(
        self,
        obj: Model | None = None,
        payload: Mapping[str, Any] | None = None,
        *,
        unique_key: str = "",
    ) -> None:
        """Do what ``fire`` does, from async code."""
        await sync_to_async(self.fire)(obj, payload, unique_key=unique_key)

    @async_unsafe("Whether a trigger is listened to is asked of the database: not in async code.")
    def is_listened_to(self) -> bool:
        """Return whether a flow or a waiting run is interested (cached, as a rule no query)."""
        return connection.receiver is not None and connection.receiver.is_listened_to(self.key)
