"""The settings: one dictionary ``FLOWCONTROL`` of the project, read when needed, with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from flowcontrol_core import bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the framework; times are in seconds, sizes in bytes."""

    # What happens after the commit that created a run: "sweep", "inline" or "celery".
    DISPATCH: str = "sweep"
    # Lease duration; renewed by the heartbeat.
    LEASE: float = 60.0
    # The most runs that one claim takes, and that one sweep executes.
    CLAIM_BATCH: int = 200
    SWEEP_LIMIT: int = 20_000
    # The most runs that one Celery message names.
    CELERY_CHUNK: int = 50
    # Executions since the last checkpoint before a run that kills its worker is ended as errored.
    MAX_ATTEMPTS: int = 5
    # The retry policy of a step that has none and raises Retry.
    RETRY_ATTEMPTS: int = 10
    RETRY_BACKOFF: float = 30.0
    # Bounds of loops, sub-flows and triggers (DESIGN section 7, promise 11).
    STEPS_PER_ACTIVATION: int = 100_000
    MAX_ITERATIONS: int = 1_000_000
    MAX_DEPTH: int = 20
    MAX_FAN_OUT: int = 1_000
    # How long consecutive database steps may share one transaction.
    COALESCE: float = 0.05
    # The longest time a step may take: after it, its lease is not extended.
    STEP_TIMEOUT: float = 300.0
    # The largest state of a run, as JSON.
    STATE_MAX_BYTES: int = bounds.STATE_BYTES
    # How long finished runs, their history, events and skipped firings are retained, in days (None:
    # for ever), and the most finished runs of a flow.
    RETENTION_DAYS: int | None = None
    RETENTION_RUNS: int | None = None
    RETENTION_HISTORY_DAYS: int | None = None
    RETENTION_EVENTS_DAYS: int = 30
    # How long a worker may be without a heartbeat before it counts as gone, and a run due before it
    # counts as overdue.
    WORKER_GONE: float = 120.0
    OVERDUE: float = 120.0
    # How long a run may queue for a limit before health lists it.
    QUEUED_LONG: float = 21_600.0
    # How long the flow triggers are cached.
    TRIGGER_CACHE_SECONDS: float = 2.0
    # What expressions may see: {"shop.order": ["total", "customer"]}; default: concrete fields.
    EXPRESSION_FIELDS: dict[str, list[str]] = field(default_factory=dict)
    # Filters of template libraries that expressions may use, one by one:
    # {"django.contrib.humanize.templatetags.humanize": ["intcomma"]}.
    EXPRESSION_FILTERS: dict[str, list[str]] = field(default_factory=dict)
    # Plugins by entry point name that are not imported, and whether a broken one is an error.
    DISABLE_PLUGINS: tuple[str, ...] = ()
    STRICT_PLUGINS: bool = False
    # The distribution that owns a plugin name which several claim: {"sms": "acme-sms"}.
    PLUGIN_OWNERS: dict[str, str] = field(default_factory=dict)
    # The models the signal triggers listen to: ["shop.order"].
    SIGNAL_MODELS: tuple[str, ...] = ()


@cache
def get_settings() -> Settings:
    """Return the settings in force.

    Unknown names are ignored here; the system check ``flowcontrol.E001`` reports them.
    """
    given = getattr(django_settings, "FLOWCONTROL", {})
    values = given if isinstance(given, dict) else {}
    return Settings(**{name: values[name] for name in known_names() & values.keys()})


def known_names() -> frozenset[str]:
    """Return the names that a project may use in ``FLOWCONTROL``."""
    return frozenset(item.name for item in fields(Settings))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "FLOWCONTROL":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flowcontrol_core.conf")
