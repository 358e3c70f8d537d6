"""What all tests of the repository share: which of them run, and on which services."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# pytest names a test module after its path. Were these packages not imported by then, the folders
# of the same names would take their places.
import flowcontrol_actions_builtin  # noqa: F401
import flowcontrol_admin  # noqa: F401
import flowcontrol_core  # noqa: F401
import flowcontrol_triggers_signals  # noqa: F401
from tests.databases import Database, ScratchDatabase, chosen_database
from tests.databases import scratch_database as open_scratch_database
from tests.planted import planted, watch
from tests.services import SERVICES_OF_MARKER, why_unreachable

# A test with one of these chooses its services itself, or would find the same on each database: it
# is run once, not on every database.
MARKERS_OF_SERVICES = frozenset({*SERVICES_OF_MARKER, "service", "sqlite_file", "wheel", "once"})
# What a test that needs the database has: the marker, or one of the fixtures.
DATABASE = "django_db"
FIXTURES_OF_THE_DATABASE = frozenset({"db", "transactional_db", "django_db_setup"})
# The folders of tests beside which nothing else is to run: they look at the time, or take it all.
ALONE = frozenset({"celery", "chaos", "processes"})
# A test with one of these is neither a unit test nor fast on a database in memory.
MARKERS_OF_THE_FULL_SUITE = MARKERS_OF_SERVICES | {"slow", "commits"}
REQUIRE_SERVICES = "FLOWCONTROL_REQUIRE_SERVICES"


settings.register_profile("unit", max_examples=5, deadline=None)
settings.register_profile("full", deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unit",
        action="store_true",
        help="run the unit tests only: no database, no service, nothing slow",
    )
    parser.addoption(
        "--memory",
        action="store_true",
        help="run the fast tests that need the database, but nothing that commits",
    )
    parser.addoption(
        "--heavy",
        action="store_true",
        help="run what neither --unit nor --memory nor, on a SQLite file, --database runs, but what"
        " --alone does",
    )
    parser.addoption(
        "--alone", action="store_true", help="run what looks at the time, or fills the machine"
    )
    parser.addoption(
        "--database",
        action="store_true",
        help="run what is to pass on every database: all but what chooses its services itself, and,"
        " except in memory, all but what needs no database",
    )


def pytest_configure(config: pytest.Config) -> None:
    fast = config.getoption("--unit") or config.getoption("--memory")
    settings.load_profile("unit" if fast else "full")


def _unwanted(config: pytest.Config) -> frozenset[str]:
    if config.getoption("--unit"):
        return MARKERS_OF_THE_FULL_SUITE | {DATABASE}
    if config.getoption("--memory"):
        return MARKERS_OF_THE_FULL_SUITE
    return MARKERS_OF_SERVICES if config.getoption("--database") else frozenset()


def _is_left_out(config: pytest.Config, item: pytest.Item, needed: set[str]) -> bool:
    """Return whether a test belongs to another part of the full run than the chosen one."""
    is_light = MARKERS_OF_THE_FULL_SUITE.isdisjoint(needed)
    is_alone = item.path.parent.name in ALONE
    if config.getoption("--alone"):
        return is_light or not is_alone
    if not config.getoption("--heavy"):
        return False
    runs_on_each = DATABASE in needed and MARKERS_OF_SERVICES.isdisjoint(needed)
    return is_light or is_alone or runs_on_each


def _is_about_the_database(config: pytest.Config) -> bool:
    """Whether what needs no database is left out: it runs once, not on each database."""
    again = config.getoption("--database") and chosen_database() is not Database.SQLITE
    return bool(config.getoption("--memory") or again)


def _needs(item: pytest.Item) -> set[str]:
    """Return the names of its markers; that of the database where a fixture asks for it, too."""
    names = {mark.name for mark in item.iter_markers()}
    fixtures = getattr(item, "fixturenames", ())
    return names if FIXTURES_OF_THE_DATABASE.isdisjoint(fixtures) else names | {DATABASE}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a part of the tests that was chosen by an option be empty."""
    chosen = session.config.getoption("--unit") or session.config.getoption("--memory")
    if chosen and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def _mark_what_commits(items: list[pytest.Item]) -> None:
    """Mark the tests that commit: emptying all tables after each takes longer than the test."""
    for item in items:
        mark = item.get_closest_marker("django_db")
        if mark is not None and mark.kwargs.get("transaction"):
            item.add_marker(pytest.mark.commits)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _mark_what_commits(items)
    unwanted = _unwanted(config)
    if chosen_database() is Database.SQLITE:
        # All connections to an in-memory database are one: such a test would prove nothing.
        unwanted |= {"real_connections"}
    is_about_the_database = _is_about_the_database(config)
    wanted: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        needed = _needs(item)
        needs_nothing = is_about_the_database and DATABASE not in needed
        is_left_out = needs_nothing or unwanted & needed or _is_left_out(config, item, needed)
        (dropped if is_left_out else wanted).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = wanted


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what lives until the end: all modules, and all tests."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose service is missing; where services are required, fail it."""
    for service in _needed_services(item):
        if problem := why_unreachable(service):
            if os.environ.get(REQUIRE_SERVICES) == "1":
                pytest.fail(f"{problem} ({REQUIRE_SERVICES} is set)", pytrace=False)
            pytest.skip(problem)


def _needed_services(item: pytest.Item) -> list[str]:
    needed: list[str] = []
    for mark in item.iter_markers():
        needed += mark.args if mark.name == "service" else SERVICES_OF_MARKER.get(mark.name, ())
    return needed


@pytest.fixture(scope="session", autouse=True)
def planted_secrets() -> Iterator[None]:
    """Plant secrets for all tests, and read what leaves the process."""
    with planted():
        yield


@pytest.fixture(autouse=True)
def _no_planted_secret_appears() -> Iterator[None]:
    watch.leaks.clear()
    yield
    assert not watch.leaks, f"a planted secret is in: {', '.join(watch.leaks)}"


@pytest.fixture(
    params=[
        pytest.param(Database.SQLITE_FILE, marks=pytest.mark.sqlite_file, id="sqlite_file"),
        pytest.param(Database.POSTGRESQL, marks=pytest.mark.postgresql, id="postgresql"),
        pytest.param(Database.MARIADB, marks=pytest.mark.mariadb, id="mariadb"),
    ]
)
def scratch_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ScratchDatabase]:
    """A new empty database on each of the three, for tests with several processes."""
    with open_scratch_database(request.param, tmp_path) as scratch:
        yield scratch
