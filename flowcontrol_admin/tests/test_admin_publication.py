"""Publishing, switching on and off, and older versions."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import (
    annotate_step,
    create_flow,
    delete_step,
    move_step,
    present_document,
    present_revision,
)
from flowcontrol.models import Flow, FlowRun, FlowVersion
from flowcontrol.testing import flow as build
from flowcontrol.testing import run_due, step
from flowcontrol_core.document.tree import Place

from .conftest import text_of, url


def post(client: Client, name: str, flow: Flow, *args: object, **data: Any) -> Any:
    data.setdefault("revision", present_revision(flow))
    return client.post(url(name, flow.pk, *args), data, follow=True)


def test_publishing_says_that_the_flow_is_inactive_and_offers_to_activate_it(
    client: Client, draft: Flow
) -> None:
    response = post(client, "flow_publish", draft)
    page = text_of(response)
    assert "Published version 1" in page
    assert "The flow is inactive, so nothing starts it yet" in page
    assert url("flow_activate", draft.pk) in response.content.decode()
    assert "it starts runs" in text_of(post(client, "flow_activate", draft))
    draft.refresh_from_db()
    assert draft.active


def test_a_flow_with_problems_is_not_published_and_each_links_to_its_step(client: Client) -> None:
    flow = create_flow(key="x", name="X", document=build(step("test.greet", id="a", text="{{ ")))
    for response in (client.get(url("flow_publish", flow.pk)), post(client, "flow_publish", flow)):
        assert url("flow_step_configure", flow.pk, "a") in response.content.decode()
        assert " publishing. Correct " in text_of(response)
    assert response.status_code == 400
    flow.refresh_from_db()
    assert flow.published is None


def test_warnings_are_shown_and_do_not_prevent_publishing(client: Client) -> None:
    text = "{{ trys }}"
    flow = create_flow(
        key="x", name="X", document=build(step("test.greet", id="a", text=text, times=1))
    )
    response = client.get(url("flow_publish", flow.pk))
    assert "(at character 4: 'trys')" in text_of(response)
    assert "Nothing in the flow brings it." in text_of(response)
    assert "#step-a" in response.content.decode()
    # A place is named as the editor names it.
    assert "1 “Greet”: Text" in text_of(response)
    assert "Published version 1" in text_of(post(client, "flow_publish", flow))


def test_the_difference_is_said_in_words_with_secrets_hidden(
    client: Client, waiting: FlowRun
) -> None:
    flow = waiting.flow
    annotate_step(flow, "hello", "a new note", revision=None)
    move_step(flow, "bye", Place(index=0), revision=None)
    delete_step(flow, "wait", revision=None)
    page = text_of(client.get(url("flow_publish", flow.pk)))
    assert "removed 2.then.1 “Wait”" in page
    assert "moved 1 “Greet”: from “In “Then” of 2 “If”, after 2.then.1 “Wait””" in page
    assert "to “Top level, at the beginning”" in page
    assert "(empty) → a new note" in page
    assert "1 unfinished run stays" in page


def test_publishing_what_another_user_has_changed_is_refused(client: Client, draft: Flow) -> None:
    assert post(client, "flow_publish", draft, revision=55).status_code == 409
    draft.refresh_from_db()
    assert draft.published is None


def test_an_unpublished_flow_cannot_be_activated(client: Client, draft: Flow) -> None:
    response = post(client, "flow_activate", draft)
    assert response.status_code == 400
    assert "cannot be activated" in text_of(response)


def test_resuming_a_flow_lets_its_paused_runs_continue(client: Client, live: Flow) -> None:
    post(client, "flow_pause", live)
    run = create_flowrun(live)
    run_due()
    run.refresh_from_db()
    assert run.status == "paused"
    assert "1 run continues" in text_of(post(client, "flow_resume", live))
    run.refresh_from_db()
    assert run.status != "paused"


def test_deactivating_is_said_and_done(client: Client, live: Flow) -> None:
    assert "inactive" in text_of(post(client, "flow_deactivate", live))
    live.refresh_from_db()
    assert not live.active


def test_an_older_version_is_shown_compared_and_restored(client: Client, live: Flow) -> None:
    delete_step(live, "hello", revision=None)
    post(client, "flow_publish", live)
    assert "older" in text_of(client.get(url("flow_versions", live.pk)))
    page = text_of(client.get(url("flow_version", live.pk, 1)))
    assert "removed 1 “Greet”" in page
    assert post(client, "flow_restore", live, 1, revision=1).status_code == 409
    post(client, "flow_restore", live, 1)
    assert present_document(live).find("hello") is not None
    assert FlowVersion.objects.get(draft_of=live).number == 3


def test_any_two_versions_are_compared(client: Client, live: Flow) -> None:
    for note in ("second", "third"):
        annotate_step(live, "hello", note, revision=None)
        post(client, "flow_publish", live)

    def compared(number: int, **query: str) -> str:
        return text_of(client.get(url("flow_version", live.pk, number), query))

    assert "from version 1 to version 3 " in compared(1)
    assert "(empty) → third" in compared(1)
    assert "(empty) → second" in compared(1, **{"with": "2"})
    assert "third → second" in compared(3, **{"with": "2"})
    assert "No differences." in compared(3)
    for wanted in ("", "x", "99", "²", "9" * 40):
        assert "(empty) → third" in compared(1, **{"with": wanted})


def test_versions_of_another_flow_are_not_found(client: Client, live: Flow, draft: Flow) -> None:
    annotate_step(live, "hello", "x", revision=None)
    assert client.get(url("flow_version", draft.pk, 2)).status_code == 404
    assert post(client, "flow_restore", draft, 2).status_code == 404


def test_discarding_shows_what_is_lost_and_goes_back_to_the_published_version(
    client: Client, live: Flow
) -> None:
    annotate_step(live, "hello", "lost", revision=None)
    assert "lost" in text_of(client.get(url("flow_discard", live.pk)))
    assert post(client, "flow_discard", live, revision=1).status_code == 409
    post(client, "flow_discard", live)
    assert not FlowVersion.objects.filter(draft_of=live).exists()


@pytest.mark.parametrize("revision", ["", "x", "-1", "9" * 30])
def test_a_malformed_revision_is_a_clear_message(
    client: Client, draft: Flow, revision: str
) -> None:
    response = post(client, "flow_publish", draft, revision=revision)
    assert response.status_code == 400
    assert "reload the page" in text_of(response)
