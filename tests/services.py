"""The services that marked tests need, and whether they can be reached."""

from __future__ import annotations

import os
import shutil
import socket
from functools import cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import Error

from tests.databases import Database, connect_to_server

REDIS_URL = os.environ.get("FLOWCONTROL_REDIS_URL", "redis://127.0.0.1:6379/0")
RABBITMQ_URL = os.environ.get("FLOWCONTROL_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

# What a marker stands for; `service` names its services itself.
SERVICES_OF_MARKER: dict[str, tuple[str, ...]] = {
    "postgresql": ("postgresql",),
    "mariadb": ("mariadb",),
    "celery": ("redis", "rabbitmq"),
    "browser": ("browser",),
}


def chromium() -> str | None:
    """The path of the browser, `FLOWCONTROL_CHROMIUM` or the first one found."""
    named = os.environ.get("FLOWCONTROL_CHROMIUM")
    candidates = [named] if named else CHROMIUM_NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)


@cache
def why_unreachable(service: str) -> str | None:
    """Return why a service cannot be used; None if it can. Asked once per service and test run.

    Raises ValueError for an unknown service.
    """
    match service:
        case "postgresql" | "mariadb":
            return _database_problem(Database(service))
        case "redis":
            return _package_problem("redis") or _redis_problem()
        case "rabbitmq":
            return _package_problem("amqp") or _rabbitmq_problem()
        case "browser":
            return _package_problem("playwright") or _browser_problem()
    known = "postgresql, mariadb, redis, rabbitmq, browser"
    raise ValueError(f"Unknown service {service!r}; known are {known}.")


def _database_problem(database: Database) -> str | None:
    try:
        with connect_to_server(database):
            return None
    except (Error, ImproperlyConfigured) as error:
        return f"{database}: {error}".strip()


def _package_problem(package: str) -> str | None:
    if find_spec(package) is None:
        return f"the package {package} is not installed"
    return None


def _redis_problem() -> str | None:
    return dialogue_problem("redis", REDIS_URL, 6379, b"PING\r\n")


def _rabbitmq_problem() -> str | None:
    return dialogue_problem("rabbitmq", RABBITMQ_URL, 5672, b"AMQP\x00\x00\x09\x01")


def _browser_problem() -> str | None:
    return None if chromium() else f"no browser found: {', '.join(CHROMIUM_NAMES)}"


def dialogue_problem(service: str, url: str, default_port: int, greeting: bytes) -> str | None:
    """Greet a server and wait for any answer: a port may be open before its server is ready."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or default_port)
    try:
        with socket.create_connection(address, timeout=3) as connection:
            connection.sendall(greeting)
            return None if connection.recv(1) else f"{service} at {address} hung up"
    except OSError as error:
        return f"{service} at {address}: {error}"
