"""Steps copied and pasted by forms, and a flow copied as a whole."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client

from flowcontrol.flows import annotate_step, create_flow, present_document, present_revision
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step

from .conftest import logged_in, make_user, text_of, url


def copied(client: Client, flow: Flow, step_id: str) -> str:
    page = client.get(url("flow_step_copy", flow.pk, step_id)).content.decode()
    (text,) = re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    return html.unescape(text)


def test_what_a_page_shows_can_be_pasted_into_another_flow(client: Client, draft: Flow) -> None:
    target = create_flow(key="target", name="Target")
    address = url("flow_paste", target.pk)
    assert "Place: Top level" in text_of(client.get(address, {"place": "//0"}))
    sent = {"text": copied(client, draft, "fork"), "place": "//0", "revision": 1}
    response = client.post(address, sent, follow=True)
    assert "Pasted 3 steps." in text_of(response)
    assert [one.action for one in present_document(target).steps] == ["test.choose"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"text": "format: 1\nsteps: [{id: a}]"}, 200),
        ({"text": "no"}, 200),
        ({"text": ""}, 200),
        ({"place": "//99"}, 404),
        ({"place": "hello/then/0"}, 404),
        ({"place": ""}, 400),
        ({"revision": "77"}, 409),
        ({"revision": ""}, 400),
    ],
)
def test_a_bad_paste_is_refused_and_changes_nothing(
    client: Client, draft: Flow, data: dict[str, str], status: int
) -> None:
    before = present_document(draft)
    good = {"text": copied(client, draft, "bye"), "place": "//0", "revision": "1"}
    response = client.post(url("flow_paste", draft.pk), good | data)
    assert response.status_code == status
    assert present_document(draft) == before
    if status == 200:
        assert response.context["form"].errors


def test_a_paste_counts_its_own_list_only(client: Client, draft: Flow) -> None:
    text, address = copied(client, draft, "bye"), url("flow_paste", draft.pk)
    page = client.get(address, {"place": "fork/else/0"}).content.decode()
    (seen,) = re.findall(r'name="seen" value="([^"]*)"', page)
    annotate_step(draft, "hello", "changed", revision=None)
    sent = {"text": text, "place": "fork/else/0", "revision": 1, "seen": seen}
    assert client.post(address, sent).status_code == 302


def test_copying_needs_no_permission_to_change_and_a_guarded_action_is_not_pasted(
    draft: Flow,
) -> None:
    guarded = create_flow(key="g", name="G", document=build(step("test.guarded", id="g")))
    reader = logged_in(make_user("reader", "view_flow"))
    text = copied(reader, guarded, "g")
    sent = {"text": text, "place": "//0", "revision": present_revision(draft)}
    assert reader.post(url("flow_paste", draft.pk), sent).status_code == 403
    author = logged_in(make_user("author", "view_flow", "change_flow"))
    assert author.post(url("flow_paste", draft.pk), sent).status_code == 403
    assert author.post(url("flow_duplicate", draft.pk)).status_code == 403
    assert reader.get(url("flow_step_copy", draft.pk, "nosuch")).status_code == 404


def test_a_flow_is_duplicated_by_a_button(client: Client, draft: Flow) -> None:
    response = client.post(url("flow_duplicate", draft.pk), follow=True)
    assert "This is the copy." in text_of(response)
    copy = Flow.objects.get(key="draft-copy")
    assert present_document(copy) == present_document(draft)
