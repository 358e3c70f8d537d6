"""Several authors edit one flow: nothing is overwritten unseen, and nothing typed is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.flows import (
    annotate_step,
    create_flow,
    move_step,
    present_document,
    present_revision,
    set_disabled,
    set_options,
)
from flowcontrol.models import Flow
from flowcontrol.testing import flow as build
from flowcontrol.testing import step
from flowcontrol_admin.seen import fingerprint
from flowcontrol_core.document.tree import Place

from .conftest import PASSWORD, logged_in, make_user, text_of, url

PAGES = (
    "flow_step_configure", "flow_step_note", "flow_step_move", "flow_step_policy",
    "flow_step_delete",
)  # fmt: skip


def fields_of(response: Any) -> dict[str, str]:
    """Return what a browser sends for the form of a page as it is shown."""
    content = response.content.decode()
    hidden = {
        name: found[1]
        for name in ("revision", "seen", "was")
        if (found := re.search(rf'name="{name}" value="([^"]*)"', content))
    }
    shown = {bound.html_name: bound.value() for bound in response.context["form"]}
    return hidden | {name: str(value) for name, value in shown.items() if value is not None}


def typed(response: Any, **values: str) -> dict[str, str]:
    """Return the same, with other values in some fields."""
    form = response.context["form"]
    return fields_of(response) | {form[name].html_name: text for name, text in values.items()}


class Author:
    """Someone who opens pages, types and sends."""

    def __init__(self, user: User, flow: Flow) -> None:
        self.client = logged_in(user)
        self.flow = flow

    def open(self, name: str, step_id: str = "hello", query: str = "") -> Any:
        return self.client.get(url(name, self.flow.pk, step_id) + query)

    def send(self, name: str, data: dict[str, Any], step_id: str = "hello") -> Any:
        return self.client.post(url(name, self.flow.pk, step_id), data, follow=True)

    def save(self, step_id: str = "hello", **values: str) -> Any:
        """Open the form of a step, and save it."""
        opened = self.open("flow_step_configure", step_id)
        return self.send("flow_step_configure", typed(opened, **values), step_id)


@pytest.fixture
def ada(draft: Flow) -> Author:
    return Author(make_user("ada", "view_flow", "change_flow"), draft)


@pytest.fixture
def bob(draft: Flow) -> Author:
    return Author(make_user("bob", "view_flow", "change_flow"), draft)


def config(flow: Flow, step_id: str = "hello") -> Any:
    found = present_document(flow).find(step_id)
    assert found is not None
    return found.config


def test_two_authors_of_different_steps_are_both_saved(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save("bye", text="from Bob")
    answer = ada.send("flow_step_configure", typed(opened, text="from Ada"))
    assert "Saved “Greet”" in text_of(answer)
    assert "Others have changed other parts" in text_of(answer)
    assert config(ada.flow)["text"] == "from Ada"
    assert config(ada.flow, "bye")["text"] == "from Bob"


def test_the_refusal_of_a_late_edit_is_the_form_with_both_sides(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(text="from Bob")
    answer = ada.send("flow_step_configure", typed(opened, text="from Ada"))
    assert answer.status_code == 409
    page = answer.content.decode()
    assert "from Ada" in page
    assert "from Bob" in page
    assert re.search(
        r"The step was changed by bob at .* \(revision 2\)\. Saved “Greet”: Text\.", page
    )
    assert config(ada.flow)["text"] == "from Bob"
    # Only what both have changed is to be chosen, and nothing is chosen for them.
    assert re.findall(r'name="conflict" value="(\w+)"', page) == ["text"]
    assert " checked" not in page


@pytest.mark.parametrize(("side", "stored"), [("mine", "from Ada"), ("theirs", "from Bob")])
def test_what_was_chosen_is_saved(ada: Author, bob: Author, side: str, stored: str) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(text="from Bob")
    refused = ada.send("flow_step_configure", typed(opened, text="from Ada", times="5"))
    data = fields_of(refused) | {"conflict": "text", "take-text": side}
    assert ada.send("flow_step_configure", data).status_code == 200
    assert config(ada.flow) == {"text": stored, "times": 5}


def test_without_a_choice_nothing_is_saved(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(text="from Bob")
    refused = ada.send("flow_step_configure", typed(opened, text="from Ada"))
    answer = ada.send("flow_step_configure", fields_of(refused) | {"conflict": "text"})
    assert "Choose one of the two" in text_of(answer)
    assert "from Ada" in answer.content.decode()
    assert config(ada.flow)["text"] == "from Bob"


def test_a_choice_is_void_where_the_step_was_changed_again(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(text="from Bob")
    refused = ada.send("flow_step_configure", typed(opened, text="from Ada"))
    bob.save(text="from Bob again")
    chosen = fields_of(refused) | {"conflict": "text", "take-text": "mine"}
    answer = ada.send("flow_step_configure", chosen)
    assert answer.status_code == 409
    assert "from Bob again" in answer.content.decode()
    assert config(ada.flow)["text"] == "from Bob again"


def test_of_a_field_that_only_the_other_changed_theirs_is_chosen(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(times="7")
    refused = ada.send("flow_step_configure", typed(opened, text="from Ada"))
    page = refused.content.decode()
    assert refused.status_code == 409
    assert re.findall(r'name="conflict" value="(\w+)"', page) == ["times"]
    assert re.search(r'value="theirs" checked', page)
    ada.send(
        "flow_step_configure", fields_of(refused) | {"conflict": "times", "take-times": "theirs"}
    )
    assert config(ada.flow) == {"text": "from Ada", "times": 7}


def test_names_of_a_form_change_with_what_it_shows(ada: Author, bob: Author) -> None:
    """A browser that fills in what was typed into an older form finds no field for it."""
    for name in ("flow_step_configure", "flow_step_note"):
        before = {bound.html_name for bound in ada.open(name).context["form"]}
        bob.save(text=f"before {name}")
        after = {bound.html_name for bound in ada.open(name).context["form"]}
        assert before.isdisjoint(after)


def test_what_was_seen_tells_nothing_about_secret_values(settings: Any) -> None:
    first = fingerprint("4711")
    settings.SECRET_KEY = "another"
    assert fingerprint("4711") != first


def test_a_note_and_a_configuration_of_one_step_are_both_saved(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_note")
    bob.save(text="from Bob")
    assert ada.send("flow_step_note", typed(opened, note="of Ada")).status_code == 200
    found = present_document(ada.flow).find("hello")
    assert found is not None
    assert (found.note, found.config["text"]) == ("of Ada", "from Bob")


def test_two_notes_are_shown_side_by_side(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_note")
    annotate_step(ada.flow, "hello", "of Bob", revision=None)
    answer = ada.send("flow_step_note", typed(opened, note="of Ada"))
    assert answer.status_code == 409
    assert "of Ada" in answer.content.decode()
    assert "of Bob" in answer.content.decode()


def _sent_from_its_page(ada: Author, name: str) -> dict[str, str]:
    """Return what a button on the page of the step sends: the fields of the form it names."""
    page = ada.open("flow_step_configure").content.decode()
    action = re.escape(url(name, ada.flow.pk, "hello"))
    (form,) = set(re.findall(rf'form="([\w-]+)"[^>]* formaction="{action}"', page))
    fields = page[page.index(f'id="{form}"') :]
    return dict(re.findall(r'name="(revision|seen)" value="([^"]*)"', fields)[:2])


def _sent_from_the_editor(ada: Author, name: str) -> dict[str, str]:
    """Return what the menu of a row sends: it reads the fingerprints from the row and its list."""
    page = ada.client.get(url("flow_editor", ada.flow.pk)).content.decode()
    shown = "data-order" if name == "flow_step_shift" else "data-seen"
    (revision,) = {*re.findall(r'name="revision" value="([^"]*)"', page)}
    row = page.index('id="step-hello"')
    start = page.rindex(shown, 0, row) if shown == "data-order" else page.index(shown, row)
    return {"revision": revision, "seen": page[start:].split('"')[1]}


@pytest.mark.parametrize("read", [_sent_from_its_page, _sent_from_the_editor])
@pytest.mark.parametrize(
    ("name", "data", "touch", "status"),
    [
        ("flow_step_shift", {"by": "1"}, "bye", 200),
        ("flow_step_shift", {"by": "1"}, "order", 409),
        ("flow_step_disable", {"disabled": "1"}, "order", 200),
        ("flow_step_disable", {"disabled": "1"}, "hello", 409),
        ("flow_step_duplicate", {}, "bye", 200),
        ("flow_step_duplicate", {}, "hello", 409),
    ],
)
def test_a_button_works_as_long_as_its_own_part_is_as_it_was_shown(
    ada: Author,
    read: Callable[[Author, str], dict[str, str]],
    name: str,
    data: dict[str, str],
    touch: str,
    status: int,
) -> None:
    sent = read(ada, name)
    if touch == "order":
        move_step(ada.flow, "fork", Place(index=0), revision=None)
    else:
        annotate_step(ada.flow, touch, "touched", revision=None)
    before = present_document(ada.flow)
    assert ada.send(name, sent | data).status_code == status
    assert (present_document(ada.flow) == before) == (status == 409)


def test_a_deletion_is_asked_again_where_a_step_inside_was_changed(
    ada: Author, bob: Author
) -> None:
    opened = ada.open("flow_step_delete", "fork")
    bob.save("bye", text="from Bob")
    answer = ada.send("flow_step_delete", fields_of(opened), "fork")
    assert answer.status_code == 409
    assert present_document(ada.flow).find("fork") is not None
    assert ada.send("flow_step_delete", fields_of(answer), "fork").status_code == 200
    assert present_document(ada.flow).find("fork") is None


def test_all_who_changed_a_step_since_are_named(ada: Author, bob: Author) -> None:
    opened = ada.open("flow_step_configure")
    bob.save(text="from Bob")
    bob.save("bye", text="elsewhere")
    set_disabled(ada.flow, "hello", disabled=True, revision=None)
    page = text_of(ada.send("flow_step_configure", typed(opened, text="from Ada")))
    assert page.count("The step was changed by") == 2
    assert page.index("(revision 4). Disabled “Greet”") < page.index(
        "(revision 2). Saved “Greet”: Text."
    )


def test_a_refused_button_says_who_changed_its_step(ada: Author, bob: Author) -> None:
    seen = {"revision": str(present_revision(ada.flow))}
    bob.save(text="from Bob")
    bob.save("bye", text="elsewhere")
    answer = ada.send("flow_step_disable", seen | {"disabled": "1"})
    assert answer.status_code == 409
    assert "The step was changed by bob at" in text_of(answer)
    assert "(revision 2). Saved “Greet”: Text." in text_of(answer)


def test_a_move_is_asked_again_where_steps_were_moved(ada: Author) -> None:
    opened = ada.open("flow_step_move", "bye")
    move_step(ada.flow, "fork", Place(index=0), revision=None)
    answer = ada.send("flow_step_move", typed(opened, place="//1"), "bye")
    assert answer.status_code == 409
    assert "Check what is shown now" in text_of(answer)
    assert "(revision 2). Moved “If”." in text_of(answer)
    assert answer.context["form"]["place"].value() == "//1"


def test_what_was_typed_for_a_deleted_step_is_shown(ada: Author) -> None:
    opened = ada.open("flow_step_configure", "bye")
    deletion = ada.open("flow_step_delete", "fork")
    ada.send("flow_step_delete", fields_of(deletion), "fork")
    annotate_step(ada.flow, "hello", "later", revision=None)
    answer = ada.send("flow_step_configure", typed(opened, text="from Ada"), "bye")
    assert answer.status_code == 409
    assert "from Ada" in text_of(answer)
    # Not the last edit, but that of the step.
    text = "(revision 2). Deleted “If” and the steps inside it (3 steps)."
    assert text in text_of(answer)
    assert "changed by ada at" in text_of(answer)


def test_each_form_with_a_revision_is_not_filled_in_by_the_browser(
    client: Client, draft: Flow, live: Flow
) -> None:
    annotate_step(live, "hello", "changed", revision=None)
    addresses = [
        url("flow_editor", draft.pk),
        url("flow_change", draft.pk),
        url("flow_publish", draft.pk),
        url("flow_discard", live.pk),
        url("flow_version", live.pk, 1),
        url("flow_versions", live.pk),
        url("flow_step_add", draft.pk) + "?place=//0",
        *(url(name, draft.pk, "hello") for name in PAGES),
    ]
    for address in addresses:
        page = client.get(address).content.decode()
        forms = re.findall(r"(<form[^>]*>)(.*?)</form>", page, re.DOTALL)
        opened = [tag for tag, inside in forms if 'name="revision"' in inside]
        assert opened, address
        assert all('autocomplete="off"' in tag for tag in opened), address


def test_a_step_with_a_problem_is_saved_only_anyway(ada: Author) -> None:
    set_options(ada.flow, object="shop.order", guard="", time_zone=None, revision=None)
    opened = ada.open("flow_step_configure", "fork")
    data = typed(opened, condition="object.totl")
    answer = ada.send("flow_step_configure", data, "fork")
    assert answer.context["form"].errors["condition"]
    assert "Save anyway" in answer.content.decode()
    assert config(ada.flow, "fork")["condition"] == "True"
    assert "Saved" in text_of(ada.send("flow_step_configure", data | {"anyway": "1"}, "fork"))
    assert config(ada.flow, "fork")["condition"] == "object.totl"


def test_a_problem_of_another_step_does_not_keep_one_from_being_saved(ada: Author) -> None:
    set_options(ada.flow, object="shop.order", guard="", time_zone=None, revision=None)
    opened = ada.open("flow_step_configure", "fork")
    broken = typed(opened, condition="object.totl") | {"anyway": "1"}
    ada.send("flow_step_configure", broken, "fork")
    assert "Saved" in text_of(ada.save("bye", text="fine"))


def add(author: Author) -> str:
    data = {"action": "test.greet", "place": "//1", "revision": present_revision(author.flow)}
    author.client.post(url("flow_step_add", author.flow.pk), data)
    return present_document(author.flow).steps[1].id


def test_cancel_removes_a_step_that_was_never_saved(ada: Author) -> None:
    added = add(ada)
    opened = ada.open("flow_step_configure", added, "?new")
    assert url("flow_step_cancel", ada.flow.pk, added) in opened.content.decode()
    answer = ada.send("flow_step_cancel", fields_of(opened), added)
    assert "The new step was removed" in text_of(answer)
    assert present_document(ada.flow).find(added) is None
    assert answer.redirect_chain[-1][0].endswith("#step-hello")


def test_cancel_leaves_a_step_that_was_saved(ada: Author) -> None:
    added = add(ada)
    opened = ada.open("flow_step_configure", added, "?new")
    ada.save(added, text="saved")
    answer = ada.send("flow_step_cancel", fields_of(opened), added)
    assert "it stays" in text_of(answer)
    assert present_document(ada.flow).find(added) is not None
    again = ada.open("flow_step_configure", added, "?new").content.decode()
    assert url("flow_step_cancel", ada.flow.pk, added) not in again
    answer = ada.send("flow_step_cancel", {"revision": present_revision(ada.flow)}, added)
    assert present_document(ada.flow).find(added) is not None


def test_each_operation_lands_on_what_it_was_about(client: Client, draft: Flow) -> None:
    editor = url("flow_editor", draft.pk)

    def land(name: str, step_id: str, **data: str) -> str:
        sent = {"revision": present_revision(draft), **data}
        return str(client.post(url(name, draft.pk, step_id), sent)["Location"])

    assert land("flow_step_shift", "hello", by="1") == f"{editor}#step-hello"
    assert land("flow_step_note", "bye", note="n") == f"{editor}#step-bye"
    assert land("flow_step_delete", "bye") == f"{editor}#step-wait"
    assert land("flow_step_delete", "wait") == f"{editor}#step-fork"
    assert land("flow_step_delete", "fork") == f"{editor}#steps"
    page = client.get(editor).content.decode()
    assert re.search(r'id="step-hello" tabindex="-1"', page)
    assert re.search(r'id="steps" tabindex="-1"', page)


def test_a_form_has_its_first_field_focused_or_that_with_the_error(ada: Author) -> None:
    assert _focused(ada.open("flow_step_configure")) == "text"
    assert _focused(ada.save(times="99")) == "times"


def _focused(response: Any) -> str:
    (found,) = re.findall(r'name="([\w-]+)"[^>]* autofocus', response.content.decode())
    return str(found).rsplit("-", 1)[-1]


def test_a_flow_of_200_steps_costs_as_many_queries_to_save(client: Client) -> None:
    counts = []
    for count in (3, 200):
        steps = [step("test.greet", id=f"s{i}", text="x", times=1) for i in range(count)]
        flow = create_flow(key=f"f{count}", name="F", document=build(*steps))
        data = {"revision": 1, "step-s1-text": "y", "step-s1-times": "1"}
        with CaptureQueriesContext(connection) as queries:
            assert client.post(url("flow_step_configure", flow.pk, "s1"), data).status_code == 302
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_login_after_the_session_has_ended_leads_back_with_a_sentence(draft: Flow) -> None:
    make_user("ada", "view_flow", "change_flow")
    client = Client()
    for name, data in (
        ("flow_step_shift", {"by": "1"}),
        ("flow_step_duplicate", {}),
        ("flow_step_disable", {"disabled": "1"}),
    ):
        before = present_document(draft)
        sent = {"revision": present_revision(draft), **data}
        to_login = client.post(url(name, draft.pk, "hello"), sent)
        assert "/login/" in to_login["Location"]
        login = {"username": "ada", "password": PASSWORD}
        answer = client.post(to_login["Location"], login, follow=True)
        assert answer.status_code == 200, name
        assert text_of(answer).count("You were logged out; nothing was changed.") == 1, name
        assert present_document(draft) == before
        client.logout()


def test_an_address_for_buttons_leads_to_the_editor_with_a_sentence(
    client: Client, draft: Flow
) -> None:
    for name, args in (("flow_step_shift", ("hello",)), ("flow_activate", ())):
        answer = client.get(url(name, draft.pk, *args), follow=True)
        assert answer.redirect_chain[0][0].startswith(url("flow_editor", draft.pk))
        assert "Nothing was changed: this address is for a button." in text_of(answer)


def test_a_typed_form_keeps_its_text_through_the_login(ada: Author) -> None:
    data = typed(ada.open("flow_step_configure"), text="from Ada")
    gone = Client(enforce_csrf_checks=True)
    gone.get(url("flow_editor", ada.flow.pk), follow=True)
    token = {"csrfmiddlewaretoken": gone.cookies["csrftoken"].value}
    asked = gone.post(url("flow_step_configure", ada.flow.pk, "hello"), data | token)
    page = asked.content.decode()
    assert asked.status_code == 403
    assert "You were logged out; nothing was changed." in text_of(asked)
    sent = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert sent == data
    again = url("flow_step_configure_again", ada.flow.pk, "hello")
    assert f'action="{again}"' in page
    # Without the login, the same page.
    assert gone.post(again, sent).status_code == 403
    gone.force_login(User.objects.get(username="ada"))
    shown = gone.post(again, sent)
    assert shown.status_code == 200
    assert "This is what you typed; nothing was saved yet." in text_of(shown)
    assert shown.context["form"]["text"].value() == "from Ada"
    assert config(ada.flow)["text"] == "Hello"
    assert f'action="{url("flow_step_configure", ada.flow.pk, "hello")}"' in shown.content.decode()
    ada.send("flow_step_configure", fields_of(shown))
    assert config(ada.flow)["text"] == "from Ada"


def test_showing_a_form_again_asks_for_the_permission_and_changes_nothing(draft: Flow) -> None:
    reader = logged_in(make_user("reader", "view_flow"))
    writer = logged_in(make_user("writer", "view_flow", "change_flow"))
    before = present_document(draft)
    for name in ("configure", "note", "policy", "move", "delete"):
        again = url(f"flow_step_{name}_again", draft.pk, "hello")
        assert reader.post(again, {"revision": "1"}).status_code == 403
        assert writer.post(again, {"revision": "1"}).status_code == 200
        assert writer.get(again)["Location"] == url("flow_editor", draft.pk) + "#step-hello"
    assert present_document(draft) == before
