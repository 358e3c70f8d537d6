"""The test tooling itself: a missing service is never taken for a passed test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import ROOT, Database, ScratchDatabase, database_settings
from tests.services import why_unreachable

MARKED_TEST = """
import pytest

@pytest.mark.service("redis")
def test_that_needs_redis():
    assert True
"""


def run_pytest_without_redis(folder: Path, environment: dict[str, str]) -> str:
    (folder / "test_marked.py").write_text(MARKED_TEST)
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "pytest.ini", "-ra", "."],
        cwd=folder,
        env=environment | {"FLOWCONTROL_REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("required", "outcome"), [("", "1 skipped"), ("1", "1 error")], ids=["optional", "required"]
)
def test_missing_service_is_skipped_or_where_required_an_error(
    tmp_path: Path, required: str, outcome: str
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = service\n")
    scratch = ScratchDatabase(database=Database.SQLITE, name="")
    output = run_pytest_without_redis(
        tmp_path, scratch.environment | {"FLOWCONTROL_REQUIRE_SERVICES": required}
    )
    assert outcome in output


def test_unknown_service_is_named() -> None:
    with pytest.raises(ValueError, match="Unknown service 'mongodb'"):
        why_unreachable("mongodb")


def test_sqlite_file_is_written_as_the_documentation_recommends() -> None:
    options = database_settings(Database.SQLITE_FILE)["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]


@pytest.mark.slow
def test_scratch_database_is_reached_by_another_process(scratch_database: ScratchDatabase) -> None:
    scratch_database.migrate()
    finished = scratch_database.python(
        "-c",
        "import django; django.setup();"
        "from tests.shop.models import Voucher;"
        "Voucher.objects.create(code='one'); print(Voucher.objects.count())",
    )
    assert finished.stdout.strip() == "1"
