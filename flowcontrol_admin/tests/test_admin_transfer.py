"""Import, export, and the page about plugins."""

from __future__ import annotations

import types

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from flowcontrol.flows import export_flows
from flowcontrol.models import Flow
from flowcontrol.plugins import PluginReport, PluginStatus
from flowcontrol_admin import health

from .conftest import logged_in, make_user, text_of, url


def test_an_exported_flow_can_be_imported_again(client: Client, live: Flow) -> None:
    response = client.get(url("flow_export", live.pk))
    assert 'filename="live.yaml"' in response["Content-Disposition"]
    text = response.content.decode().replace("key: live", "key: copy")
    page = text_of(client.post(url("flow_import"), {"text": text}))
    assert "Imported 1 flow" in page
    assert Flow.objects.get(key="copy").published is None
    assert "key: live" in client.get(url("flow_export_all")).content.decode()


def test_a_file_is_imported_and_published(client: Client, live: Flow) -> None:
    text = export_flows([live]).replace("key: live", "key: copy")
    file = SimpleUploadedFile("flows.yaml", text.encode())
    client.post(url("flow_import"), {"file": file, "publish": "on", "activate": "on"})
    assert Flow.objects.get(key="copy").active


@pytest.mark.parametrize(
    "text", ["", "{", "just a text", "format: 1\nflows: 7", "a: &b 1\nc: *b", "[" * 50_000]
)
def test_a_bad_import_is_a_clear_message_and_imports_nothing(client: Client, text: str) -> None:
    response = client.post(url("flow_import"), {"text": text})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert not Flow.objects.exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"x" * 2_000_000])
def test_a_bad_file_is_a_clear_message(client: Client, content: bytes) -> None:
    response = client.post(url("flow_import"), {"file": SimpleUploadedFile("a.yaml", content)})
    assert response.context["form"].errors


def test_importing_into_publication_needs_the_permissions_for_it(live: Flow) -> None:
    client = logged_in(make_user("author", "view_flow", "add_flow", "change_flow"))
    text = export_flows([live])
    for option in ("publish", "activate"):
        response = client.post(url("flow_import"), {"text": text, option: "on"})
        assert response.status_code == 403


def test_plugins_are_listed_with_what_went_wrong_and_the_remedy(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = PluginReport(
        name="sms",
        distribution="flowcontrol-sms",
        version="1.2",
        module="sms.plugin",
        status=PluginStatus.FAILED,
        reason="ImportError: no gateway",
        remedy="Uninstall it.",
        traceback="Traceback: here",
        actions=("sms.send",),
    )
    manager = types.SimpleNamespace(reports=(report,))
    monkeypatch.setattr(health, "plugin_manager", manager)
    page = text_of(client.get(url("flow_plugins")))
    for part in ("sms", "1.2", "failed", "no gateway", "Uninstall it.", "Traceback: here"):
        assert part in page
    assert "test.greet" in page
