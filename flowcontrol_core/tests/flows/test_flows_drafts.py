"""Drafts: one at most, nothing overwritten, and published versions that never change."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import ProtectedError
from django.utils import timezone

from flowcontrol import flows
from flowcontrol_core.document.edit import delete_step, set_options
from flowcontrol_core.document.format import digest, to_data
from flowcontrol_core.document.tree import Document
from flowcontrol_core.errors import DocumentError, EditError, StaleRevisionError
from flowcontrol_core.flows import drafts
from flowcontrol_core.flows.edits import Operation
from flowcontrol_core.models import Flow, FlowRun, FlowVersion

from .conftest import document, greet, step

pytestmark = pytest.mark.django_db


def make(*steps: dict[str, object], key: str = "welcome", **options: object) -> Flow:
    return flows.create_flow(key=key, name="Welcome", document=document(*steps, **options))


def make_published(*steps: dict[str, object]) -> Flow:
    flow = make(*steps)
    flows.publish(flow)
    return flow


def published(flow: Flow) -> FlowVersion:
    assert flow.published is not None
    return flow.published


def with_guard(guard: str) -> Operation:
    return lambda old: set_options(old, object=None, guard=guard, time_zone=None)


def test_new_flow_is_inactive_and_has_a_draft_of_its_document(author: User) -> None:
    content = document(greet("aaaa"))
    flow = flows.create_flow(key="welcome", name="Welcome", author=author, document=content)
    version = FlowVersion.objects.get(draft_of=flow)
    assert (flow.active, flow.published, version.number) == (False, None, 1)
    assert (version.author, version.digest) == (str(author), digest(to_data(content)))
    assert flows.get_document(version) == content


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"key": "Not a key", "name": "x"}, "key"),
        ({"key": "ok", "name": ""}, "name"),
        ({"key": "ok", "name": "x", "max_concurrent": 0}, "max_concurrent"),
    ],
)
def test_flow_with_a_wrong_value_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(DocumentError) as caught:
        flows.create_flow(**fields)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert not Flow.objects.exists()


def test_key_that_is_taken_is_refused() -> None:
    make()
    with pytest.raises(DocumentError, match="Flow with this Key already exists") as caught:
        make()
    assert caught.value.problems[0].field == "key"


def test_key_that_is_taken_just_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr("flowcontrol_core.flows.lifecycle._validate", lambda *_, **__: None)
    with pytest.raises(DocumentError, match="choose another"):
        make()


def test_state_of_a_flow_cannot_be_set_past_its_operations() -> None:
    with pytest.raises(EditError, match="activate"):
        flows.create_flow(key="welcome", name="Welcome", active=True)


def test_change_of_a_limit_leaves_what_others_changed_meanwhile() -> None:
    flow = make()
    Flow.objects.filter(pk=flow.pk).update(paused=True, name="Renamed")
    flows.change_flow(flow, max_concurrent=2)
    flow.refresh_from_db()
    assert (flow.paused, flow.name, flow.max_concurrent) == (True, "Renamed", 2)
    with pytest.raises(DocumentError, match="max_concurrent"):
        flows.change_flow(flow, max_concurrent=0)


def test_opening_a_draft_twice_gives_the_same_one(author: User) -> None:
    flow = make_published(greet("aaaa"))
    first = flows.open_draft(flow, author)
    assert flows.open_draft(flow) == first
    assert (first.number, first.is_draft, first.author) == (2, True, str(author))
    assert flows.get_document(first) == flows.get_document(published(flow))


def test_draft_opened_by_a_faster_author_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = make_published(greet("aaaa"))
    theirs: list[FlowVersion] = []

    def be_slower(slow: Flow) -> int:
        content = to_data(Document())
        theirs.append(
            FlowVersion.objects.create(flow=slow, draft_of=slow, number=2, document=content)
        )
        return 2

    monkeypatch.setattr(drafts, "_next_number", be_slower)
    assert drafts.open_draft(flow) == theirs[0]


def test_edit_raises_the_revision_and_names_the_author(author: User) -> None:
    flow = make(greet("aaaa"))
    version = flows.edit_draft(flow, with_guard("a"), revision=1, author=author)
    assert (version.revision, version.author) == (2, str(author))
    assert flows.get_document(version).guard == "a"
    assert version.digest == digest(version.document)


def test_second_of_two_edits_of_the_same_revision_is_refused(author: User, other: User) -> None:
    flow = make(greet("aaaa"))
    flows.edit_draft(flow, with_guard("mine"), revision=1, author=author)
    changed_at = timezone.localtime(FlowVersion.objects.get(draft_of=flow).updated_at)
    with pytest.raises(StaleRevisionError, match=f"by ada at {changed_at:%Y-%m-%d %H:%M:%S}"):
        flows.edit_draft(flow, with_guard("theirs"), revision=1, author=other)
    assert flows.present_document(flow).guard == "mine"


@pytest.mark.django_db(transaction=True)
def test_who_changed_a_flow_can_be_asked_outside_of_a_transaction() -> None:
    flow = flows.create_flow(key="f", name="F", document=document(greet("a")))
    assert "was changed by" in str(flows.stale_revision(flow))


@pytest.mark.parametrize("revision", [None, 1])
def test_edit_during_an_edit_is_not_overwritten(revision: int | None, author: User) -> None:
    flow = make(greet("aaaa"))

    def slow(old: Document) -> Document:
        flows.edit_draft(flow, with_guard("faster"), revision=1, author=author)
        return delete_step(old, "aaaa")

    with pytest.raises(StaleRevisionError, match="ada"):
        flows.edit_draft(flow, slow, revision=revision, author=None)


def test_first_edits_of_a_published_flow_exclude_each_other() -> None:
    flow = make_published(greet("aaaa"))
    seen = flows.present_revision(flow)
    flows.edit_draft(flow, with_guard("a"), revision=seen, author=None)
    with pytest.raises(StaleRevisionError, match="an unknown author"):
        flows.edit_draft(flow, with_guard("b"), revision=seen, author=None)


def test_refused_first_edit_opens_no_draft() -> None:
    flow = make_published(greet("aaaa"))
    with pytest.raises(EditError):
        flows.edit_draft(flow, lambda old: delete_step(old, "gone"), revision=None, author=None)
    assert not FlowVersion.objects.filter(draft_of=flow).exists()


def test_edit_that_changes_nothing_opens_no_draft() -> None:
    flow = make_published(greet("aaaa"))
    assert flows.edit_draft(flow, lambda old: old, revision=1, author=None) == flow.published
    assert not FlowVersion.objects.filter(draft_of=flow).exists()


def test_flow_that_was_made_without_a_version_can_be_edited() -> None:
    flow = Flow.objects.create(key="bare", name="Bare")
    assert flows.present_revision(flow) == 1
    version = flows.edit_draft(flow, with_guard("a"), revision=1, author=None)
    assert (version.number, version.revision) == (1, 2)


def test_discarded_draft_gives_way_to_the_published_version() -> None:
    flow = make_published(greet("aaaa"))
    draft = flows.edit_draft(flow, with_guard("a"), revision=None, author=None)
    shown = flows.discard_draft(flow, revision=draft.revision)
    assert shown == flow.published
    assert flows.present_document(flow).guard == ""
    with pytest.raises(EditError, match="no draft"):
        flows.discard_draft(flow)


def test_edit_made_on_a_discarded_draft_is_stale() -> None:
    flow = make_published(greet("aaaa"))
    draft = flows.edit_draft(flow, with_guard("a"), revision=None, author=None)
    flows.discard_draft(flow)
    with pytest.raises(StaleRevisionError, match="Discarded the draft"):
        flows.edit_draft(flow, with_guard("b"), revision=draft.revision, author=None)
    new = flows.edit_draft(flow, with_guard("c"), revision=None, author=None)
    assert new.revision > draft.revision


def test_draft_that_others_have_changed_is_not_discarded() -> None:
    flow = make_published(greet("aaaa"))
    draft = flows.edit_draft(flow, with_guard("a"), revision=None, author=None)
    flows.edit_draft(flow, with_guard("b"), revision=None, author=None)
    with pytest.raises(StaleRevisionError):
        flows.discard_draft(flow, revision=draft.revision)
    assert flows.present_document(flow).guard == "b"


def test_draft_of_a_flow_that_was_never_published_is_kept() -> None:
    flow = make(greet("aaaa"))
    with pytest.raises(EditError, match="never published"):
        flows.discard_draft(flow)
    assert FlowVersion.objects.filter(draft_of=flow).exists()


def test_restored_version_is_a_draft_and_publishes_nothing(author: User) -> None:
    flow = make_published(greet("aaaa"))
    first = published(flow)
    flows.edit_draft(flow, with_guard("state.ok"), revision=None, author=None)
    second = flows.publish(flow)
    draft = flows.restore_version(flow, first, revision=second.revision, author=author)
    assert (draft.is_draft, draft.number) == (True, 3)
    assert flows.get_document(draft) == flows.get_document(first)
    flow.refresh_from_db()
    assert flow.published == second


def test_version_of_another_flow_is_not_restored() -> None:
    flow, strange = make(greet("aaaa")), make(greet("bbbb"), key="strange")
    with pytest.raises(EditError, match="not a version of the flow 'welcome'"):
        flows.restore_version(flow, FlowVersion.objects.get(flow=strange))


def test_published_document_is_parsed_once() -> None:
    version = published(make_published(greet("aaaa")))
    assert flows.get_document(version) is flows.get_document(FlowVersion.objects.get(pk=version.pk))


@pytest.mark.parametrize("name", ["document", "digest", "number", "published_at"])
def test_published_version_refuses_a_change(name: str) -> None:
    version = published(make_published(greet("aaaa")))
    setattr(version, name, {"document": {}, "number": 7}.get(name))
    with pytest.raises(EditError, match="never changes"):
        version.save()
    with pytest.raises(EditError, match=name):
        version.save(update_fields=[name])


def test_published_version_may_be_saved_unchanged() -> None:
    version = published(make_published(greet("aaaa")))
    version.save()
    version.save(update_fields=["revision"])


def test_version_that_runs_start_on_is_not_deleted() -> None:
    flow = make_published(greet("aaaa"))
    with pytest.raises(EditError, match="Publish another one first"):
        published(flow).delete()
    assert Flow.objects.get().published is not None


def test_older_version_with_runs_is_not_deleted() -> None:
    flow = make_published(greet("aaaa"))
    first = published(flow)
    now = timezone.now()
    FlowRun.objects.create(flow=flow, version=first, created_at=now, since=now)
    flows.edit_draft(flow, with_guard("state.ok"), revision=None, author=None)
    flows.publish(flow)
    with pytest.raises(ProtectedError):
        first.delete()


def test_deleting_and_editing_steps_leaves_the_version_of_a_run_in_flight() -> None:
    flow = make_published(greet("aaaa"))
    now = timezone.now()
    run = FlowRun.objects.create(flow=flow, version=published(flow), created_at=now, since=now)
    flows.edit_draft(flow, lambda old: delete_step(old, "aaaa"), revision=None, author=None)
    flows.publish(flow)
    run.refresh_from_db()
    assert flows.get_document(run.version).find("aaaa") is not None
    assert flows.get_document(published(flow)).steps == ()


def test_author_without_the_permission_of_an_action_cannot_bring_it_in(author: User) -> None:
    flow = make(greet("aaaa"))
    wanted = document(step("bbbb", "guarded"))
    with pytest.raises(EditError, match=r"shop\.delete_order"):
        flows.edit_draft(flow, lambda _: wanted, revision=None, author=author)
    with pytest.raises(EditError, match=r"shop\.delete_order"):
        flows.create_flow(key="other", name="Other", author=author, document=wanted)
    author.is_superuser = True
    flows.edit_draft(flow, lambda _: wanted, revision=None, author=author)


@pytest.mark.real_connections
@pytest.mark.django_db(transaction=True)
def test_of_edits_at_the_same_time_one_is_written_and_the_others_are_refused() -> None:
    flow = make_published(greet("aaaa"))
    seen = flows.present_revision(flow)
    barrier = threading.Barrier(4)
    written: list[str] = []
    refused: list[StaleRevisionError] = []

    def edit(guard: str) -> None:
        barrier.wait()
        try:
            flows.edit_draft(flow, with_guard(guard), revision=seen, author=None)
            written.append(guard)
        except StaleRevisionError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=edit, args=(f"state.v{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(written), len(refused)) == (1, 3)
    assert flows.present_document(flow).guard == written[0]
