"""What a script gets: a part of a page, or the address where it continues."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flowcontrol.flows import present_document, present_revision
from flowcontrol.models import Flow

from .conftest import text_of, url

NAME = "X-Flowcontrol"
ASKS = {NAME: "fragment"}


def get(client: Client, name: str, *args: object, **query: str) -> Any:
    return client.get(url(name, *args), query, headers=ASKS)


@pytest.mark.parametrize(
    ("name", "args", "query"),
    [
        ("flow_step_configure", ("hello",), {}),
        ("flow_step_move", ("hello",), {}),
        ("flow_step_delete", ("fork",), {}),
        ("flow_step_copy", ("hello",), {}),
        ("flow_step_add", (), {"place": "//0"}),
        ("flow_paste", (), {"place": "//0"}),
        ("flow_trigger_pick", (), {}),
    ],
)
def test_a_part_has_a_title_and_no_frame(
    client: Client, draft: Flow, name: str, args: tuple[str, ...], query: dict[str, str]
) -> None:
    response = get(client, name, draft.pk, *args, **query)
    page = response.content.decode()
    assert response.headers[NAME] == "page"
    assert "<h2" in page
    for unwanted in ("<html", "<head", "<h1", "fc-tabs", 'id="content-main"'):
        assert unwanted not in page
    whole = client.get(url(name, draft.pk, *args), query)
    assert NAME not in whole.headers
    assert "<html" in whole.content.decode()


def test_the_editor_is_its_head_and_its_tree(client: Client, draft: Flow) -> None:
    page = get(client, "flow_editor", draft.pk).content.decode()
    assert page.count("data-fc-region=") == 2
    assert "fc-tabs" not in page
    assert "fc-panel" not in page
    assert 'id="step-hello"' in page


def test_a_change_answers_where_to_continue_with_the_step(client: Client, draft: Flow) -> None:
    sent = {"revision": present_revision(draft)}
    address = url("flow_step_duplicate", draft.pk, "hello")
    response = client.post(address, sent, headers=ASKS)
    copy = present_document(draft).step_ids()[1]
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers[NAME] == f"{url('flow_editor', draft.pk)}#step-{copy}"
    shown = get(client, "flow_editor", draft.pk).content.decode()
    assert "data-fc-messages" in shown
    assert "Duplicated “Greet”." in shown


def test_a_refusal_is_a_part_too(client: Client, draft: Flow) -> None:
    address = url("flow_step_duplicate", draft.pk, "hello")
    response = client.post(address, {"revision": 99}, headers=ASKS)
    assert response.status_code == 409
    assert response.headers[NAME] == "page"
    assert "Nothing was saved" in text_of(response)
    assert "<html" not in response.content.decode()


def test_who_is_logged_out_gets_no_part(draft: Flow) -> None:
    """So the script lets the browser show the login."""
    response = Client().get(url("flow_editor", draft.pk), headers=ASKS)
    assert response.status_code == 302
    assert NAME not in response.headers
