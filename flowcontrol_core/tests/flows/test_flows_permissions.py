"""What authors may not do: place guarded actions, and change what is in force at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from flowcontrol import flows
from flowcontrol_core.document.edit import change_step
from flowcontrol_core.document.tree import Document, Place, RetryPolicy
from flowcontrol_core.errors import EditError, NotPermittedError
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.models import Flow, FlowTrigger
from flowcontrol_core.testing.helpers import publish_flow

from .conftest import choose, document, greet, step

pytestmark = pytest.mark.django_db

GUARDED = "shop.delete_order"
POLICY: dict[str, Any] = {"retry": None, "timeout": None, "if_unknown": "repeat"}


def guarded(step_id: str = "gggg", **rest: Any) -> dict[str, Any]:
    return step(step_id, "guarded", **rest)


def make(*steps: dict[str, Any], key: str = "welcome") -> Flow:
    return flows.create_flow(key=key, name="Welcome", document=document(*steps))


def grant(user: User, *codenames: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


def sample(**rest: Any) -> Flow:
    """A flow with a guarded step among others, and another one inside of a branch."""
    return make(
        greet("aaaa"),
        guarded(**rest),
        greet("bbbb"),
        step("loop", "loop", branches={"body": [greet("cccc")]}),
        choose("fork", then=[guarded("hhhh")]),
    )


def _edit(name: str, *arguments: Any, **options: Any) -> Callable[[Flow, User], Any]:
    def edit(flow: Flow, author: User) -> Any:
        function = getattr(flows, name)
        return function(flow, *arguments, **options, revision=None, author=author)

    return edit


def _policy(step_id: str = "gggg", **values: Any) -> Callable[[Flow, User], Any]:
    return _edit("set_policy", step_id, **(POLICY | values))


def _whole(change: Callable[[Document], Document]) -> Callable[[Flow, User], Any]:
    return _edit("edit_draft", change)


IN_THE_LOOP = Place(parent="loop", branch="body", index=0)
REFUSED = {
    "move into a loop": _edit("move_step", "gggg", IN_THE_LOOP),
    "move within its list": _edit("move_step", "gggg", Place(index=0)),
    "move up": _edit("shift_step", "gggg", -1),
    "move down": _edit("shift_step", "gggg", 1),
    "move out of a branch": _edit("move_step", "hhhh", Place(index=0)),
    "move what is around it": _edit("move_step", "fork", IN_THE_LOOP),
    "move up what is around it": _edit("shift_step", "fork", -1),
    "attempts": _policy(retry=RetryPolicy(attempts=1_000)),
    "timeout": _policy(timeout=1.0),
    "never repeat": _policy(if_unknown="fail"),
    "duplicate": _edit("duplicate_step", "gggg"),
    "duplicate what is around it": _edit("duplicate_step", "fork"),
    "configure": _whole(lambda old: change_step(old, "gggg", config={"a": 1})),
    "configure another version": _whole(lambda old: change_step(old, "gggg", config_version=2)),
    "configure what is around it": _whole(
        lambda old: change_step(old, "fork", config={"condition": "False"})
    ),
    "configure another version of what is around it": _whole(
        lambda old: change_step(old, "fork", config_version=2)
    ),
    "put another action around it": _whole(
        lambda old: change_step(old, "fork", action="test.unhappy")
    ),
    "reorder at once": _whole(lambda old: replace(old, steps=old.steps[::-1])),
}
ALLOWED = {
    "note": _edit("annotate_step", "gggg", "why"),
    "disable": _edit("set_disabled", "gggg", disabled=True),
    "delete": _edit("delete_step", "gggg"),
    "delete what is around it": _edit("delete_step", "fork"),
    "move another step past it": _edit("shift_step", "aaaa", 1),
    "move another step before it": _edit("move_step", "bbbb", Place(index=0)),
    "add a step before it": _edit("add_step", "test.greet", Place(index=0)),
    "policy of another step": _policy("aaaa", timeout=1.0),
    "policy of what is around it": _policy("fork", timeout=1.0),
    "duplicate another step": _edit("duplicate_step", "aaaa"),
    "configure what is around none": _whole(lambda old: change_step(old, "loop", config={"a": 1})),
    "note on what is around it": _edit("annotate_step", "fork", "why"),
    "disable what is around it": _edit("set_disabled", "fork", disabled=True),
    "options": _edit("set_options", object=None, guard="state.x", time_zone=None),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_places_a_step_anew_asks_for_the_permission_of_its_action(
    author: User, name: str
) -> None:
    flow = sample()
    with pytest.raises(NotPermittedError, match=r"shop\.delete_order"):
        REFUSED[name](flow, author)
    assert flows.present_revision(flow) == 1
    REFUSED[name](flow, grant(author, "delete_order"))
    assert flows.present_revision(flow) == 2


@pytest.mark.parametrize("name", list(ALLOWED))
def test_what_leaves_a_guarded_step_as_it_is_asks_for_nothing(author: User, name: str) -> None:
    flow = sample()
    ALLOWED[name](flow, author)
    assert flows.present_revision(flow) == 2


@pytest.mark.parametrize("off", ["gggg", "hhhh", "fork"])
def test_enabling_a_guarded_step_or_what_is_around_it_asks_for_the_permission(
    author: User, off: str
) -> None:
    flow = sample()
    flows.set_disabled(flow, off, disabled=True, revision=None, author=author)
    with pytest.raises(NotPermittedError, match=r"shop\.delete_order"):
        flows.set_disabled(flow, off, disabled=False, revision=None, author=author)
    allowed = grant(author, "delete_order")
    assert flows.set_disabled(flow, off, disabled=False, revision=None, author=allowed).changed


def test_the_form_of_what_is_around_a_guarded_step_asks_for_the_permission(author: User) -> None:
    flow = make(choose("outer", then=[choose("inner", then=[guarded()])]))

    def configure(around: str, author: User) -> None:
        found = flows.present_document(flow)
        data = {f"step-{around}-condition": "state.x"}
        form = flows.step_form(found.visit(around).step, data, document=found).form
        assert form
        flows.configure_step(flow, around, form, revision=None, author=author)

    for around in ("outer", "inner"):
        with pytest.raises(NotPermittedError, match=r"shop\.delete_order.*test\.guarded"):
            configure(around, author)
    configure("inner", grant(author, "delete_order"))
    assert flows.present_document(flow).visit("inner").step.config == {"condition": "state.x"}


def test_restoring_a_version_brings_in_no_guarded_step(author: User) -> None:
    flow = sample()
    first = flows.publish(flow)
    flows.delete_step(flow, "gggg", revision=None, author=author)
    flows.publish(flow)
    with pytest.raises(NotPermittedError, match=r"shop\.delete_order"):
        flows.restore_version(flow, first, author=author)
    restored = flows.restore_version(flow, first, author=grant(author, "delete_order"))
    assert "gggg" in flows.get_document(restored).step_ids()


def test_restoring_a_version_with_the_same_guarded_steps_asks_for_nothing(author: User) -> None:
    flow = sample()
    first = flows.publish(flow)
    flows.delete_step(flow, "aaaa", revision=None, author=author)
    flows.publish(flow)
    restored = flows.restore_version(flow, first, author=author)
    assert "aaaa" in flows.get_document(restored).step_ids()


def test_importing_asks_for_the_permission_as_editing_does(author: User) -> None:
    flow = sample()
    text = export_flows([flow])
    assert flows.import_flows(text, author=author)
    flows.delete_step(flow, "gggg", revision=None, author=author)
    with pytest.raises(NotPermittedError, match=r"shop\.delete_order"):
        flows.import_flows(text, author=author)
    assert "gggg" not in flows.present_document(flow).step_ids()


def test_a_permission_for_one_flow_is_enough_to_change_it(author: User) -> None:
    class Owner(User):
        class Meta:
            proxy = True
            app_label = "auth"

        def has_perm(self, perm: str, obj: Any = None) -> bool:
            return perm.endswith("publish_flow") and obj == mine

    mine, other = live("mine"), live("other")
    owner = Owner.objects.get(pk=author.pk)
    assert flows.may_change_live(mine, owner)
    assert not flows.may_change_live(other, owner)


def live(key: str = "live") -> Flow:
    return publish_flow(document(greet("aaaa")), key=key, name="Live")


def _changed(**fields: Any) -> Callable[[Flow, User], Any]:
    return lambda flow, author: flows.change_flow(flow, author=author, **fields)


def _imported(old: str, new: str) -> Callable[[Flow, User], Any]:
    def change(flow: Flow, author: User) -> Any:
        text = export_flows([flow])
        assert old in text
        return flows.import_flows(text.replace(old, new), author=author)

    return change


def _first_trigger(flow: Flow) -> FlowTrigger:
    return FlowTrigger.objects.get(flow=flow)


IN_FORCE_AT_ONCE: dict[str, Callable[[Flow, User], Any]] = {
    "name": _changed(name="Other"),
    "description": _changed(description="other"),
    "limit": _changed(max_concurrent=1),
    "policy": _changed(max_concurrent_policy="replace"),
    "queue": _changed(queue="slow"),
    "retention": _changed(retention_days=1),
    "import of a name": _imported("name: Live", "name: Other"),
    "import of a queue": _imported("queue: default", "queue: slow"),
    "import of a limit": _imported("limits:\n", "limits:\n    max_concurrent: 1\n"),
    "import of a retention": _imported("queue: default", "queue: default\n  retention_days: 1"),
    "add a trigger": lambda flow, author: flows.associate_trigger(
        flow, "test.noon", author=author
    ),
    "change a trigger": lambda flow, author: flows.change_trigger(
        _first_trigger(flow), condition="payload.x", author=author
    ),
    "switch a trigger": lambda flow, author: flows.change_trigger(
        _first_trigger(flow), active=False, author=author
    ),
    "remove a trigger": lambda flow, author: flows.remove_trigger(
        _first_trigger(flow), author=author
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(IN_FORCE_AT_ONCE))
def test_what_changes_a_live_flow_asks_for_publish_or_activate(author: User, name: str) -> None:
    flow = live()
    flows.associate_trigger(flow, "test.noon")
    before = _columns(flow)
    with pytest.raises(NotPermittedError, match="to publish or to activate"):
        IN_FORCE_AT_ONCE[name](Flow.objects.get(), grant(author, "change_flow"))
    assert _columns(flow) == before


@pytest.mark.parametrize("right", ["publish_flow", "activate_flow"])
@pytest.mark.parametrize("name", list(IN_FORCE_AT_ONCE))
def test_each_of_the_two_permissions_is_enough(author: User, name: str, right: str) -> None:
    flow = live()
    flows.associate_trigger(flow, "test.noon")
    before = _columns(flow)
    IN_FORCE_AT_ONCE[name](Flow.objects.get(), grant(author, right))
    assert _columns(flow) != before


@pytest.mark.parametrize("name", list(IN_FORCE_AT_ONCE))
def test_nothing_of_a_flow_is_in_force_that_is_inactive_without_unfinished_runs(
    author: User, name: str
) -> None:
    flow = flows.deactivate(live())
    flows.associate_trigger(flow, "test.noon")
    IN_FORCE_AT_ONCE[name](Flow.objects.get(), author)


def test_a_flow_with_unfinished_runs_is_live_although_it_is_inactive(author: User) -> None:
    flow = live()
    now = flow.updated_at
    version = flows.published_version(flow)
    assert version
    flow.runs.create(version=version, created_at=now, since=now)
    flows.deactivate(flow)
    with pytest.raises(NotPermittedError):
        flows.associate_trigger(flow, "test.noon", author=author)
    flow.runs.update(status="done", outcome="complete")
    flows.associate_trigger(flow, "test.noon", author=author)


def test_an_import_that_changes_the_draft_only_asks_for_nothing_more(author: User) -> None:
    flow = live()
    flows.associate_trigger(flow, "test.noon")
    [result] = flows.import_flows(export_flows([flow]).replace("Hello", "Good day"), author=author)
    assert result.notes == ()
    assert flows.present_document(flow).steps[0].config["text"] == "Good day"


@pytest.mark.parametrize(
    ("option", "right"), [("publish", "publish_flow"), ("activate", "activate_flow")]
)
def test_an_import_publishes_and_activates_for_those_who_may(
    author: User, option: str, right: str
) -> None:
    flow = live()
    text = export_flows([flow]).replace("Hello", "Good day")
    asked: dict[str, Any] = {option: True}
    with pytest.raises(NotPermittedError, match=right):
        flows.import_flows(text, author=author, **asked)
    assert flows.import_flows(text, author=grant(author, right), **asked)


def test_the_error_is_one_of_editing() -> None:
    assert issubclass(NotPermittedError, EditError)


def _columns(flow: Flow) -> list[Any]:
    rows = list(
        Flow.objects.filter(pk=flow.pk).values(
            *flows.LIMITS, *flows.POLICIES, *flows.RETENTION, "name", "description"
        )
    )
    return [*rows, *FlowTrigger.objects.order_by("pk").values()]
