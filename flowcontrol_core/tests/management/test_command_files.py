from __future__ import annotations

from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from django.core.management import CommandError

from flowcontrol_core.models import Flow
from flowcontrol_core.testing.builder import flow, step
from flowcontrol_core.testing.helpers import publish_flow

pytestmark = pytest.mark.django_db
Call = Callable[..., str]


@pytest.fixture
def exported(call: Call, tmp_path: Path) -> Path:
    """A file with the flow ``greet``, which is deleted here."""
    greet = publish_flow(flow(step("test.mark")), key="greet")
    path = tmp_path / "flows.yaml"
    path.write_text(call("export", "greet"))
    Flow.objects.filter(pk=greet.pk).update(published=None)
    greet.delete()
    return path


def test_all_flows_are_exported_without_a_key(call: Call) -> None:
    publish_flow(flow(step("test.mark")), key="one")
    publish_flow(flow(step("test.mark")), key="two")
    text = call("export")
    assert "key: one" in text
    assert "key: two" in text


def test_only_the_named_flow_is_exported(call: Call) -> None:
    publish_flow(flow(step("test.mark")), key="one")
    publish_flow(flow(step("test.mark")), key="two")
    assert "key: one" not in call("export", "two")


def test_an_unknown_key_is_answered_with_the_nearest(call: Call) -> None:
    publish_flow(flow(step("test.mark")), key="welcome")
    with pytest.raises(CommandError, match=r"'wellcome'\. Did you mean “welcome”"):
        call("export", "wellcome")


def test_an_unknown_key_is_answered_with_all_that_exist(call: Call) -> None:
    with pytest.raises(CommandError, match=r"'x'. Known are none\."):
        call("export", "x")


def test_an_import_makes_a_draft(call: Call, exported: Path) -> None:
    assert call("import", str(exported)).startswith("greet: created\n")
    assert Flow.objects.get(key="greet").published is None


def test_an_import_publishes_and_activates_on_request(call: Call, exported: Path) -> None:
    lines = call("import", str(exported), "--publish", "--activate")
    assert lines == "greet: created, published as version 1, activated\n"
    assert Flow.objects.get(key="greet").active


def test_an_import_reads_standard_input(
    call: Call, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(exported.read_bytes())))
    assert "greet: created" in call("import", "-")


def test_an_import_names_the_plugin_that_is_missing(call: Call, exported: Path) -> None:
    exported.write_text(exported.read_text().replace("test.mark", "acme.fly"))
    assert "install the plugin acme" in call("import", str(exported))


def test_a_missing_file_is_a_clear_error(call: Call) -> None:
    with pytest.raises(CommandError, match=r"'none\.yaml' cannot be read: No such file"):
        call("import", "none.yaml")


def test_a_binary_file_is_a_clear_error(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "flows.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="is not a text in UTF-8"):
        call("import", str(path))


def test_a_file_that_is_not_valid_is_not_imported(call: Call, exported: Path) -> None:
    exported.write_text(exported.read_text().replace("key: greet", "key: Not a key"))
    with pytest.raises(CommandError, match="is not valid, nothing was imported:\n  "):
        call("import", str(exported))
    assert not Flow.objects.exists()


def test_a_flow_that_cannot_be_published_is_not_imported(call: Call, exported: Path) -> None:
    exported.write_text(exported.read_text().replace("test.mark", "acme.fly"))
    with pytest.raises(CommandError, match="could not be published, nothing was imported"):
        call("import", str(exported), "--publish")
    assert not Flow.objects.exists()


def test_what_was_never_published_is_not_activated(call: Call, exported: Path) -> None:
    with pytest.raises(CommandError, match=r"Nothing was imported: .* cannot be activated"):
        call("import", str(exported), "--activate")
