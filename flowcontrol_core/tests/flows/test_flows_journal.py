"""The journal: who changed what of a draft, and how it is undone and redone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from flowcontrol import flows
from flowcontrol_core import bounds
from flowcontrol_core.document.tree import Place, RetryPolicy
from flowcontrol_core.errors import EditError, NotPermittedError, StaleRevisionError
from flowcontrol_core.flows import journal
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.models import EditOperation, Flow, FlowEdit, FlowVersion

from .conftest import choose, document, greet, step

pytestmark = pytest.mark.django_db

STEPS = (greet("aaaa"), choose("fork", then=[greet("bbbb"), greet("cccc")]), greet("dddd"))


@pytest.fixture
def flow() -> Flow:
    return flows.create_flow(key="welcome", name="Welcome", document=document(*STEPS))


def note(flow: Flow, step_id: str, text: str, author: User | None = None) -> int:
    edit = flows.annotate_step(flow, step_id, text, revision=None, author=author)
    return edit.version.revision


def note_of(flow: Flow, step_id: str) -> str:
    found = flows.present_document(flow).find(step_id)
    assert found is not None
    return found.note


def configure(flow: Flow) -> None:
    found = flows.present_document(flow).find("aaaa")
    assert found is not None
    data = {"step-aaaa-text": "Hi", "step-aaaa-times": "2"}
    form = flows.step_form(found, data, document=flows.present_document(flow)).form
    assert form is not None
    flows.configure_step(flow, "aaaa", form, revision=None)


def change_policy(flow: Flow) -> None:
    retry = RetryPolicy(attempts=3)
    flows.set_policy(flow, "aaaa", retry=retry, timeout=5, if_unknown="fail", revision=None)


def change_options(flow: Flow) -> None:
    flows.set_options(flow, object="shop.order", guard="a", time_zone="UTC", revision=None)


def restore(flow: Flow) -> None:
    draft = flows.present_version(flow)
    assert draft is not None
    other = document(greet("zzzz"), guard="b")
    columns = {"document": {"format": 1, "guard": "b", "steps": [greet("zzzz")]}, "digest": "x"}
    version = FlowVersion.objects.create(flow=flow, number=99, **columns)
    flows.restore_version(flow, version)
    version.delete()
    assert flows.present_document(flow) == other


def import_file(flow: Flow) -> None:
    other = flows.create_flow(key="other", name="Other", document=document(greet("zzzz")))
    text = export_flows([other]).replace("key: other", "key: welcome")
    flows.import_flows(text)


OPERATIONS: dict[str, tuple[Callable[[Flow], object], str]] = {
    "add": (
        lambda flow: flows.add_step(flow, "test.greet", Place(index=0), revision=None),
        "Added “Greet”.",
    ),
    "configure": (configure, "Saved “Greet”: Text, Times."),
    "move": (
        lambda flow: flows.move_step(
            flow, "dddd", Place(parent="fork", branch="else", index=0), revision=None
        ),
        "Moved “Greet”.",
    ),
    "move_up": (lambda flow: flows.shift_step(flow, "cccc", -1, revision=None), "up."),
    "move_down": (lambda flow: flows.shift_step(flow, "aaaa", 1, revision=None), "down."),
    "duplicate": (
        lambda flow: flows.duplicate_step(flow, "fork", revision=None),
        "Duplicated “If” and the steps inside it (3 steps).",
    ),
    "disable": (
        lambda flow: flows.set_disabled(flow, "aaaa", disabled=True, revision=None),
        "Disabled “Greet”: runs skip it.",
    ),
    "annotate": (lambda flow: note(flow, "aaaa", "n"), "Saved the note on “Greet”."),
    "policy": (change_policy, "Saved what happens when “Greet” fails."),
    "delete": (
        lambda flow: flows.delete_step(flow, "fork", revision=None),
        "Deleted “If” and the steps inside it (3 steps).",
    ),
    "options": (change_options, "Saved the settings of the flow."),
    "code": (
        lambda flow: flows.edit_draft(
            flow, lambda _: document(greet("bbbb")), revision=None, author=None
        ),
        "Changed the steps by code.",
    ),
    "restore": (restore, "Restored version 99 as the draft."),
    "import": (import_file, "Imported the steps from a file."),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_in_the_journal_and_there_and_back(flow: Flow, operation: str) -> None:
    operate, sentence = OPERATIONS[operation]
    before = flows.present_document(flow)
    operate(flow)
    after = flows.present_document(flow)
    (edit,) = flows.edits(flow)
    assert (edit.operation, edit.number, edit.revision) == (operation, 1, 2)
    assert edit.text.endswith(sentence)
    undone = flows.undo(flow, revision=2)
    assert undone.of is not None
    assert undone.of.text == edit.text
    assert flows.present_document(flow) == before
    redone = flows.redo(flow, revision=3)
    assert redone.of is not None
    assert flows.present_document(flow) == after
    assert [each.operation for each in flows.edits(flow)] == ["redo", "undo", operation]


def test_removed_note_and_enabled_step_are_named() -> None:
    flow = flows.create_flow(
        key="f", name="F", document=document({**greet("aaaa"), "note": "n", "disabled": True})
    )
    note(flow, "aaaa", "")
    flows.set_disabled(flow, "aaaa", disabled=False, revision=None)
    assert [edit.operation for edit in flows.edits(flow)] == ["enable", "remove_note"]


def test_every_operation_has_a_sentence() -> None:
    values = {"action": "test.greet", "count": 1, "version": 1, "author": ""}
    inner = {"operation": "add", "values": values}
    for operation in EditOperation:
        text = journal.sentence(operation, {**values, **inner})
        assert text.endswith((".", ": runs skip it.")), operation
        assert "%" not in text


def test_a_damaged_row_is_shown_as_it_is() -> None:
    assert journal.sentence("delete", {"count": "many"}) == "delete {'count': 'many'}"
    assert "from the future" in journal.sentence("from the future", {})


def test_an_edit_that_changes_nothing_is_not_in_the_journal(flow: Flow) -> None:
    note(flow, "aaaa", "")
    assert flows.edits(flow) == []


def test_a_refused_edit_is_not_in_the_journal(flow: Flow) -> None:
    note(flow, "aaaa", "mine")
    with pytest.raises(StaleRevisionError):
        flows.annotate_step(flow, "aaaa", "late", revision=1)
    assert len(flows.edits(flow)) == 1


def test_edits_are_undone_from_the_last_to_the_first_and_redone(flow: Flow) -> None:
    for text in ("1", "2", "3"):
        note(flow, "aaaa", text)
    for left in ("2", "1", ""):
        flows.undo(flow)
        assert note_of(flow, "aaaa") == left
    with pytest.raises(EditError, match="nothing to undo: the flow has not been edited"):
        flows.undo(flow)
    for again in ("1", "2", "3"):
        flows.redo(flow)
        assert note_of(flow, "aaaa") == again
    with pytest.raises(EditError, match="nothing to redo"):
        flows.redo(flow)


def test_a_new_edit_leaves_nothing_to_redo(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    flows.undo(flow)
    note(flow, "bbbb", "2")
    with pytest.raises(EditError, match="nothing to redo"):
        flows.redo(flow)
    flows.undo(flow)
    assert (note_of(flow, "aaaa"), note_of(flow, "bbbb")) == ("", "")
    flows.redo(flow)
    assert note_of(flow, "bbbb") == "2"


def test_an_undone_edit_is_marked(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    flows.undo(flow)
    assert [edit.is_undone for edit in flows.edits(flow)] == [False, True]
    flows.redo(flow)
    assert [edit.is_undone for edit in flows.edits(flow)] == [False, False, False]


def test_the_edit_of_another_author_is_undone_and_named(
    flow: Flow, author: User, other: User
) -> None:
    note(flow, "aaaa", "of Ada", author)
    edit = flows.undo(flow, author=other)
    assert edit.message == "Undid an edit by ada: Saved the note on “Greet”."
    assert edit.of is not None
    assert (edit.of.author, edit.of.is_undone) == ("ada", True)
    assert [each.author for each in flows.edits(flow)] == ["grace", "ada"]
    assert flows.redo(flow, author=author).message.startswith("Redid an edit by ada: Saved the")


def test_an_undo_leaves_what_others_have_changed_of_other_steps(
    flow: Flow, author: User, other: User
) -> None:
    seen = note(flow, "aaaa", "of Ada", author)
    note(flow, "bbbb", "of Grace", other)
    edit = flows.undo(flow, revision=seen, author=author)
    assert edit.of is not None
    assert edit.of.revision == seen
    assert (note_of(flow, "aaaa"), note_of(flow, "bbbb")) == ("", "of Grace")
    # The next one is that of Grace.
    flows.undo(flow)
    assert note_of(flow, "bbbb") == ""


def test_an_undo_that_would_overwrite_a_later_change_of_the_step_is_refused(
    flow: Flow, author: User, other: User
) -> None:
    seen = note(flow, "aaaa", "of Ada", author)
    flows.set_disabled(flow, "aaaa", disabled=True, revision=None, author=other)
    with pytest.raises(StaleRevisionError, match=r"The step was changed by grace at .* Disabled"):
        flows.undo(flow, revision=seen, author=author)
    assert note_of(flow, "aaaa") == "of Ada"


def test_the_undo_of_a_new_step_is_refused_where_steps_were_put_into_it(flow: Flow) -> None:
    added = flows.add_step(flow, "test.choose", Place(index=0), revision=None)
    inside = Place(parent=added.step, branch="then", index=0)
    flows.move_step(flow, "cccc", inside, revision=None)
    with pytest.raises(StaleRevisionError, match="Moved “Greet”"):
        flows.undo(flow, revision=added.version.revision)
    assert "cccc" in flows.present_document(flow).index


def test_the_undo_of_a_deletion_is_refused_where_its_list_was_changed(flow: Flow) -> None:
    deleted = flows.delete_step(flow, "aaaa", revision=None)
    flows.add_step(flow, "test.greet", Place(index=0), revision=None)
    with pytest.raises(StaleRevisionError, match="Added “Greet”"):
        flows.undo(flow, revision=deleted.version.revision)


def test_a_redo_that_was_seen_before_a_new_edit_is_refused(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    seen = flows.undo(flow).version.revision
    note(flow, "bbbb", "2")
    with pytest.raises(StaleRevisionError):
        flows.redo(flow, revision=seen)


def test_the_second_undo_of_one_edit_is_refused(flow: Flow, author: User, other: User) -> None:
    note(flow, "aaaa", "1")
    seen = note(flow, "aaaa", "2")
    flows.undo(flow, revision=seen, author=author)
    with pytest.raises(StaleRevisionError, match=r"changed by ada at .* Undid an edit"):
        flows.undo(flow, revision=seen, author=other)
    assert note_of(flow, "aaaa") == "1"


def test_an_undo_does_not_cross_a_publication(flow: Flow) -> None:
    seen = note(flow, "aaaa", "1")
    flows.publish(flow)
    with pytest.raises(EditError, match="version 1 was published"):
        flows.undo(flow, revision=seen)
    note(flow, "aaaa", "2")
    flows.undo(flow)
    with pytest.raises(EditError, match="version 1 was published"):
        flows.undo(flow)
    assert note_of(flow, "aaaa") == "1"
    assert [edit.number for edit in flows.edits(flow)] == [2, 2, 1]


def test_a_discarded_draft_comes_back(flow: Flow, author: User) -> None:
    flows.publish(flow)
    note(flow, "aaaa", "1")
    note(flow, "aaaa", "2")
    flows.discard_draft(flow, author=author)
    assert flows.edits(flow)[0].text == "Discarded the draft."
    assert flows.edits(flow)[0].author == "ada"
    flows.undo(flow, revision=flows.present_revision(flow))
    assert note_of(flow, "aaaa") == "2"
    flows.undo(flow)
    assert note_of(flow, "aaaa") == "1"
    flows.redo(flow)
    flows.redo(flow)
    assert note_of(flow, "aaaa") == ""
    assert flows.is_unchanged(flow)


def test_what_replaced_an_unreadable_document_is_not_undone(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    draft = flows.present_version(flow)
    assert draft is not None
    FlowVersion.objects.filter(pk=draft.pk).update(document={"format": 99}, digest="new")
    import_file(flow)
    assert flows.edits(flow)[0].operation == "import"
    with pytest.raises(EditError, match="nothing to undo"):
        flows.undo(flow)


def test_an_undo_asks_for_the_permission_of_an_action(author: User) -> None:
    content = document(step("aaaa", "guarded"), greet("bbbb"))
    flow = flows.create_flow(key="f", name="F", document=content)
    flows.delete_step(flow, "aaaa", revision=None, author=author)
    with pytest.raises(NotPermittedError, match=r"shop\.delete_order"):
        flows.undo(flow, author=author)
    author.user_permissions.add(Permission.objects.get(codename="delete_order"))
    flows.undo(flow, author=User.objects.get(pk=author.pk))
    assert "aaaa" in flows.present_document(flow).index


def test_only_the_newest_edits_are_kept(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EDITS", 3)
    strange = flows.create_flow(key="strange", name="S", document=document(*STEPS))
    note(strange, "aaaa", "1")
    for text in "abcdef":
        note(flow, "aaaa", text)
    assert [edit.revision for edit in flows.edits(flow)] == [7, 6, 5]
    assert len(flows.edits(strange)) == 1
    for _ in range(2):
        flows.undo(flow)
    assert note_of(flow, "aaaa") == "d"
    # Of what was undone the last is not kept any more, and the one before it needs that.
    with pytest.raises(EditError, match="nothing to redo"):
        flows.redo(flow)


def test_the_journal_holds_what_was_changed_and_not_the_whole_document(flow: Flow) -> None:
    note(flow, "bbbb", "1")
    row = FlowEdit.objects.get(flow=flow)
    assert [*row.before["own"], *row.after["own"]] == ["bbbb", "bbbb"]
    assert row.before["lists"] == row.after["lists"] == {}


def test_edits_of_one_step_since_a_revision(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    seen = note(flow, "bbbb", "2")
    flows.edit_draft(flow, lambda _: document(greet("aaaa")), revision=None, author=None)
    flows.set_disabled(flow, "aaaa", disabled=True, revision=None)
    assert [edit.operation for edit in flows.edits(flow, steps=["aaaa"], since=seen)] == [
        "disable",
        "code",
    ]
    assert len(flows.edits(flow, steps=["aaaa"])) == 3
    # It was deleted with others, by an edit that was about none of them.
    (deletion,) = flows.edits(flow, steps=["bbbb"], since=seen)
    assert deletion.operation == "code"
    flows.add_step(flow, "test.greet", Place(index=0), revision=None)
    assert flows.edits(flow, steps=["aaaa"])[0].operation == "disable"
    assert flows.edits(flow, steps=["aaaa"], moved=True)[0].operation == "add"


def test_the_error_of_a_late_edit_says_what_was_done(flow: Flow, author: User) -> None:
    note(flow, "aaaa", "1", author)
    note(flow, "bbbb", "2")
    text = str(flows.stale_revision(flow, steps=["aaaa"], since=1))
    assert text.startswith("The step was changed by ada at ")
    assert "(revision 2). Saved the note on “Greet”. Nothing was written" in text
    text = str(flows.stale_revision(flow))
    assert text.startswith("The flow was changed by an unknown author at ")
    assert "(revision 3). Saved the note on “Greet”. Nothing was written" in text


def test_the_journal_goes_with_its_flow(flow: Flow) -> None:
    note(flow, "aaaa", "1")
    flows.delete_flow(flow)
    assert not FlowEdit.objects.exists()


@pytest.mark.real_connections
@pytest.mark.django_db(transaction=True)
def test_of_two_who_undo_at_once_one_wins_and_the_other_is_told() -> None:
    flow = flows.create_flow(key="f", name="F", document=document(*STEPS))
    note(flow, "aaaa", "1")
    seen = note(flow, "aaaa", "2")
    barrier = threading.Barrier(2)
    undone: list[str] = []
    refused: list[str] = []

    def revert() -> None:
        barrier.wait()
        try:
            undone.append(flows.undo(flow, revision=seen).message)
        except StaleRevisionError as error:
            refused.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=revert) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(undone), len(refused)) == (1, 1)
    assert "Undid an edit" in refused[0]
    assert note_of(flow, "aaaa") == "1"
    assert [edit.operation for edit in flows.edits(flow)] == ["undo", "annotate", "annotate"]


@pytest.mark.parametrize("damage", [[], "x", 4, {"own": 1, "lists": []}, {"lists": {"": 3}}])
def test_a_damaged_journal_undoes_nothing_and_stops_no_edit(flow: Flow, damage: object) -> None:
    revision = note(flow, "aaaa", "one")
    note(flow, "aaaa", "two")
    FlowEdit.objects.update(before=damage, after=damage, values=damage)
    with pytest.raises((EditError, StaleRevisionError)):
        flows.undo(flow)
    assert flows.edits(flow)
    with pytest.raises(StaleRevisionError):
        flows.annotate_step(flow, "aaaa", "three", revision=revision)
    assert note_of(flow, "aaaa") == "two"
