"""Undo and redo in the editor, and the edits of the draft in the history."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.flows import (
    annotate_step,
    discard_draft,
    present_document,
    present_revision,
    publish,
    set_disabled,
)
from flowcontrol.models import Flow

from .conftest import logged_in, make_user, text_of, url


@pytest.fixture
def ada(db: None) -> User:
    return make_user("ada", "view_flow", "change_flow")


@pytest.fixture
def bob(db: None) -> User:
    return make_user("bob", "view_flow", "change_flow")


def button(client: Client, flow: Flow, name: str) -> str:
    """Return the tag of a button of the editor."""
    page = client.get(url("flow_editor", flow.pk)).content.decode()
    address = re.escape(url(f"flow_{name}", flow.pk))
    (found,) = re.findall(rf'<button [^>]*formaction="{address}"[^>]*>', page)
    return str(found)


def press(client: Client, flow: Flow, name: str, revision: int | None = None) -> Any:
    data = {"revision": present_revision(flow) if revision is None else revision}
    return client.post(url(f"flow_{name}", flow.pk), data, follow=True)


def note(flow: Flow, step_id: str, text: str, author: User | None = None) -> int:
    edit = annotate_step(flow, step_id, text, revision=None, author=author)
    return edit.version.revision


def notes(flow: Flow) -> tuple[str, str]:
    index = present_document(flow).index
    return index["hello"].step.note, index["bye"].step.note


def test_without_edits_both_buttons_are_disabled_and_say_why(client: Client, draft: Flow) -> None:
    assert " disabled " in (undo := button(client, draft, "undo"))
    assert 'title="There is nothing to undo."' in undo
    assert " disabled " in (redo := button(client, draft, "redo"))
    assert 'title="There is nothing to redo."' in redo


def test_the_buttons_name_the_edit_and_its_author(
    client: Client, draft: Flow, ada: User, bob: User
) -> None:
    note(draft, "hello", "1", ada)
    set_disabled(draft, "bye", disabled=True, revision=None, author=bob)
    undo = button(client, draft, "undo")
    assert 'title="Undo the edit by bob: Disabled “Greet”: runs skip it."' in undo
    assert "disabled" not in undo.partition("title=")[0]
    press(client, draft, "undo")
    assert "Undo the edit by ada: Saved the note on “Greet”." in button(client, draft, "undo")
    assert "Redo the edit by bob: Disabled “Greet”" in button(client, draft, "redo")


def test_an_edit_is_undone_and_redone(draft: Flow, ada: User, bob: User) -> None:
    note(draft, "hello", "of Ada", ada)
    client = logged_in(bob)
    answer = press(client, draft, "undo")
    assert "Undid an edit by ada: Saved the note on “Greet”." in text_of(answer)
    assert "Others have changed" not in text_of(answer)
    assert answer.redirect_chain[-1][0] == url("flow_editor", draft.pk) + "#step-hello"
    assert notes(draft) == ("", "")
    answer = press(client, draft, "redo")
    assert "Redid an edit by ada: Saved the note on “Greet”." in text_of(answer)
    assert notes(draft) == ("of Ada", "")


def test_an_undo_leaves_what_others_have_changed_meanwhile(
    draft: Flow, ada: User, bob: User
) -> None:
    seen = note(draft, "hello", "of Ada", ada)
    note(draft, "bye", "of Bob", bob)
    answer = press(logged_in(ada), draft, "undo", seen)
    assert "Undid an edit by ada" in text_of(answer)
    assert "Others have changed other parts of the flow meanwhile." in text_of(answer)
    assert notes(draft) == ("", "of Bob")


def test_an_undo_that_would_overwrite_another_edit_is_refused(
    draft: Flow, ada: User, bob: User
) -> None:
    seen = note(draft, "hello", "of Ada", ada)
    note(draft, "hello", "of Bob", bob)
    note(draft, "bye", "later", bob)
    answer = press(logged_in(ada), draft, "undo", seen)
    assert answer.status_code == 409
    assert "The step was changed by bob at" in text_of(answer)
    assert "(revision 3). Saved the note on “Greet”." in text_of(answer)
    assert notes(draft) == ("of Bob", "later")


def test_an_undo_does_not_cross_a_publication(client: Client, draft: Flow) -> None:
    note(draft, "hello", "1")
    publish(draft)
    title = 'title="There is nothing to undo since the last publication."'
    assert title in button(client, draft, "undo")
    answer = press(client, draft, "undo")
    assert answer.status_code == 400
    assert "version 1 was published, and a publication is not undone" in text_of(answer)


def test_a_discarded_draft_comes_back(client: Client, live: Flow) -> None:
    note(live, "hello", "1")
    answer = client.post(
        url("flow_discard", live.pk), {"revision": present_revision(live)}, follow=True
    )
    assert notes(live) == ("", "")
    assert "Undo the edit by root: Discarded the draft." in answer.content.decode()
    press(client, live, "undo")
    assert notes(live) == ("1", "")


def test_who_may_only_view_sees_no_buttons(draft: Flow) -> None:
    note(draft, "hello", "1")
    reader = logged_in(make_user("reader", "view_flow"))
    page = reader.get(url("flow_editor", draft.pk)).content.decode()
    assert url("flow_undo", draft.pk) not in page


def test_the_editor_costs_as_many_queries_with_many_edits(client: Client, draft: Flow) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            client.get(url("flow_editor", draft.pk))
        return len(caught)

    before = queries()
    for number in range(20):
        note(draft, "hello", str(number))
    assert queries() == before


def test_the_history_shows_the_edits_of_the_draft(client: Client, live: Flow, ada: User) -> None:
    note(live, "hello", "1", ada)
    note(live, "bye", "2")
    press(client, live, "undo")
    discard_draft(live, author=ada)
    page = text_of(client.get(url("flow_history", live.pk)))
    assert "ada Edited the draft of version 2 Saved the note on “Greet”." in page
    undone = "an unknown author Edited the draft of version 2 Saved the note on “Greet”. (Undone"
    assert undone in page
    assert "root Edited the draft of version 2 Undid an edit by an unknown author: Saved" in page
    assert "ada Edited the draft of version 2 Discarded the draft." in page
