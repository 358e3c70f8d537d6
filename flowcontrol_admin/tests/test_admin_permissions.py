"""Every address and operator action as everybody: a table, which has to name every one there is.

What exists comes from the URL resolver and from the table of operator actions; what each asks for
is written down here, and nowhere derived from the routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from flowcontrol.engine import create_flowrun
from flowcontrol.flows import associate_trigger
from flowcontrol.models import Flow, FlowRun, FlowTrigger, FlowVersion
from flowcontrol.runs import OPERATOR_ACTIONS, pause
from flowcontrol_admin.routes import FLOW_ROUTES, RUN_ROUTES

from .conftest import logged_in, make_user

APP = "flowcontrol_core_"
LOGIN = 302
VIEW = frozenset({"view_flow", "view_flowrun"})
#: What a member of staff may do; most have one right beside those to view.
ROLES: dict[str, frozenset[str]] = {
    "staff": frozenset(),
    "view": VIEW,
    "change": VIEW | {"change_flow"},
    "import": VIEW | {"add_flow", "change_flow", "delete_flow"},
    "publish": VIEW | {"publish_flow"},
    "activate": VIEW | {"activate_flow"},
    "change and publish": VIEW | {"change_flow", "publish_flow"},
    "start": VIEW | {"start_flow"},
    "operate": VIEW | {"operate_flowrun"},
    "operate without view": frozenset({"operate_flowrun"}),
    "change with secrets": VIEW | {"change_flow", "use_secret"},
}
OPERATE = ("view_flowrun", "operate_flowrun")


@dataclass(frozen=True)
class Ask:
    """What a method of an address answers to those who have all of the rights.

    ``either`` are rights of which one is enough, beside ``rights``.
    """

    status: int
    rights: tuple[str, ...] = ("view_flow",)
    either: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def expected(self, rights: frozenset[str]) -> int:
        """Return the status for a member of staff with these rights."""
        has = rights | {"view_flow" for right in rights if right == "change_flow"}
        is_enough = not self.either or not has.isdisjoint(self.either)
        return self.status if is_enough and has.issuperset(self.rights) else 403


@dataclass(frozen=True)
class Row:
    """An address, what it is about, and what it asks for."""

    name: str
    get: Ask
    post: Ask
    kind: str = "live"
    extra: tuple[object, ...] = ()
    query: str = ""


def only_get(rights: tuple[str, ...] = ("view_flow",), status: int = 200) -> tuple[Ask, Ask]:
    return Ask(status, rights), Ask(405, rights)


def only_post(*rights: str, either: tuple[str, ...] = (), **data: Any) -> tuple[Ask, Ask]:
    needs = ("view_flow", *rights)
    return Ask(302, needs), Ask(302, needs, either, data)


def both(*rights: str, status: int = 302, get: int = 200, **data: Any) -> tuple[Ask, Ask]:
    """What asks for the same rights to be shown and to be done."""
    needs = ("view_flow", *rights)
    return Ask(get, needs), Ask(status, needs, (), data)


def form(
    *rights: str, status: int = 302, either: tuple[str, ...] = (), **data: Any
) -> tuple[Ask, Ask]:
    """What all who view may read, and some may do."""
    return Ask(200), Ask(status, ("view_flow", *rights), either, data)


IN_FORCE = ("publish_flow", "activate_flow")
SETTINGS: dict[str, Any] = {"object": "", "guard": "", "time_zone": ""}
RENAMED: dict[str, Any] = {**SETTINGS, "name": "New"}
KEPT: dict[str, Any] = {**SETTINGS, "name": "A live flow"}
YAML = "format: 1\nflows: []\n"
CHANGE = "change_flow"
COPIED = "format: 1\nsteps: [{id: a, action: test.wait, config: {}}]\n"
TABLE = [
    Row("flow_changelist", *only_get(), kind="none"),
    Row(
        "flow_add", Ask(200, ("add_flow",)),
        Ask(302, ("add_flow",), (), {**RENAMED, "key": "new"}), "none",
    ),
    Row("flow_plugins", *only_get(), kind="none"),
    Row("flow_health", *only_get(), kind="none"),
    Row("flow_health_json", *only_get(), kind="none"),
    Row("flow_import", *both("add_flow", CHANGE, status=200, text=YAML), kind="none"),
    Row("flow_export_all", *only_get(), kind="none"),
    Row("flow_editor", *only_get()),
    Row("flow_export", *only_get()),
    Row("flow_change", *form(CHANGE, either=IN_FORCE, **RENAMED)),
    Row("flow_change", *form(CHANGE, **{**KEPT, "guard": "state.x"})),
    Row("flow_change", *form(CHANGE, **RENAMED), kind="draft"),
    Row("flow_delete", *both("delete_flow", status=409)),
    Row("flow_delete", *both("delete_flow"), kind="draft"),
    Row("flow_history", *only_get()),
    Row("flow_diagram", *only_get()),
    Row("flow_duplicate", *only_post("add_flow")),
    Row("flow_step_copy", *only_get(), extra=("hello",)),
    Row(
        "flow_paste", *both(CHANGE, place="//0", revision="1", text=COPIED), query="?place=//0"
    ),
    Row("flow_publish", *form("publish_flow", status=409)),
    Row("flow_publish", *form("publish_flow"), kind="draft"),
    *(
        Row(f"flow_{name}", *only_post("activate_flow"))
        for name in ("activate", "deactivate", "pause", "resume")
    ),
    Row("flow_discard", *both(CHANGE, status=400, get=400)),
    # There is nothing to undo in these flows.
    *(
        Row(f"flow_{name}", Ask(302, ("view_flow", CHANGE)), Ask(400, ("view_flow", CHANGE)))
        for name in ("undo", "redo")
    ),
    Row("flow_versions", *only_get()),
    Row("flow_version", *only_get(), extra=(1,)),
    Row("flow_restore", *only_post(CHANGE), extra=(1,)),
    Row("flow_step_add", *both(CHANGE, action="test.greet", place="//0"), query="?place=//0"),
    Row("flow_expression", *both(status=200, text="1", kind="expression"), extra=("hello",)),
    Row("flow_step_configure", *both(CHANGE, status=200), extra=("hello",)),
    Row("flow_step_move", *both(CHANGE, place="//1"), extra=("hello",)),
    Row("flow_step_note", *both(CHANGE, note="well"), extra=("hello",)),
    Row("flow_step_policy", *both(CHANGE, if_unknown="fail"), extra=("hello",)),
    Row("flow_step_delete", *both(CHANGE), extra=("hello",)),
    Row("flow_step_duplicate", *only_post(CHANGE), extra=("hello",)),
    Row("flow_step_shift", *only_post(CHANGE, by="1"), extra=("hello",)),
    Row("flow_step_cancel", *only_post(CHANGE), extra=("hello",)),
    Row("flow_step_disable", *only_post(CHANGE, disabled="1"), extra=("hello",)),
    Row("flow_trigger_pick", *only_get(("view_flow", CHANGE))),
    Row(
        "flow_trigger_add", Ask(200, (CHANGE,)),
        Ask(302, (CHANGE,), IN_FORCE, {"mode": "start", "active": "on"}), extra=("test.noon",),
    ),
    Row(
        "flow_trigger_add", *both(CHANGE, mode="start", active="on"), kind="draft",
        extra=("test.noon",),
    ),
    Row("flow_trigger", *form(CHANGE, either=IN_FORCE, mode="start"), kind="trigger"),
    Row("flow_trigger_toggle", *only_post(CHANGE, either=IN_FORCE), kind="trigger"),
    Row("flow_trigger_delete", Ask(200, (CHANGE,)), Ask(302, (CHANGE,), IN_FORCE), "trigger"),
    Row("flow_start", *both("start_flow")),
    Row("flow_start_objects", *only_get(("view_flow", "start_flow"))),
    Row(
        "flow_dry_run", Ask(302, ("view_flow", "start_flow")),
        Ask(200, ("view_flow", "start_flow")),
    ),
    Row(
        # What is posted are the actions of the list: see below.
        "flowrun_changelist", Ask(200, ("view_flowrun",)), Ask(200, ("view_flowrun",)), "none",
    ),
    Row("flowrun_change", *only_get(("view_flowrun",)), kind="waiting"),
    Row("flowrun_diagram", *only_get(("view_flowrun",)), kind="waiting"),
    Row(
        "flowrun_operation", Ask(404, ("view_flowrun",)), Ask(405, ("view_flowrun",)), "none",
        (1,),
    ),
    Row(
        "flowrun_operation_stop", Ask(302, ("view_flowrun",)), Ask(404, ("view_flowrun",)), "none",
        (1,),
    ),
    Row(
        "flowrun_operate", Ask(404, ("view_flowrun",)), Ask(404, ("view_flowrun",)), "waiting",
        ("nosuch",),
    ),
]  # fmt: skip
#: Of each operator action: the kind of run that it is done to, and what it is given.
ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "run_now": ("waiting", {}),
    "retry": ("failed", {}),
    "skip": ("waiting", {}),
    "go_to_step": ("waiting", {"step": "bye"}),
    "restart": ("failed", {"step": "oops"}),
    "edit_state": ("waiting", {"state": "{}", "changes": '{"a": 1}'}),
    "move": ("older", {}),
    "pause": ("waiting", {}),
    "resume": ("paused", {}),
    "cancel": ("waiting", {}),
}
TABLE += [
    Row(
        "flowrun_operate", Ask(200, OPERATE), Ask(302, OPERATE, (), data), kind,
        (name.replace("_", "-"),),
    )
    for name, (kind, data) in ACTIONS.items()
]  # fmt: skip


@pytest.fixture
def clients(admin_user: User) -> dict[str, tuple[Client, frozenset[str]]]:
    every = frozenset(Permission.objects.values_list("codename", flat=True))
    made = {name: (logged_in(make_user(name, *found)), found) for name, found in ROLES.items()}
    return {**made, "superuser": (logged_in(admin_user), every)}


@pytest.fixture
def subjects(
    live: Flow, draft: Flow, waiting: FlowRun, failed: FlowRun, older: FlowRun
) -> dict[str, tuple[int, ...]]:
    """What the rows are about, by their kind."""
    association = associate_trigger(live, "test.noon")
    paused = pause(create_flowrun(live))
    return {
        "none": (),
        "live": (live.pk,),
        "draft": (draft.pk,),
        "trigger": (live.pk, association.pk),
        "waiting": (waiting.pk,),
        "failed": (failed.pk,),
        "older": (older.pk,),
        "paused": (paused.pk,),
    }


def address(row: Row, subject: tuple[int, ...]) -> str:
    return reverse(f"admin:{APP}{row.name}", args=(*subject, *row.extra)) + row.query


def answer(client: Client, method: str, where: str, ask: Ask) -> Any:
    """Make a request, and undo whatever it has done. An answer of 500 raises here."""
    data = {"revision": 1, **ask.data} if method == "post" else None
    with transaction.atomic():
        response = getattr(client, method)(where, data)
        transaction.set_rollback(True)
    return response


def our_urls() -> Iterator[URLPattern]:
    """Yield every address of the site whose name is one of ours, from the URL resolver."""
    pending: list[Any] = [get_resolver()]
    while pending:
        found = pending.pop()
        if isinstance(found, URLResolver):
            pending.extend(found.url_patterns)
        elif str(found.name).startswith(APP):
            yield found


def test_the_table_names_every_address_there_is() -> None:
    names = {str(found.name).removeprefix(APP) for found in our_urls()}
    assert len(names) > 30
    again = {f"{route.name}_again" for route in FLOW_ROUTES if route.shows_again}
    assert names == {row.name for row in TABLE} | again


def test_the_table_names_every_operator_action() -> None:
    assert list(ACTIONS) == list(OPERATOR_ACTIONS)


def test_each_right_of_ours_makes_a_role() -> None:
    """A permission that the models declare beside Django's four, and that no role has, is new."""
    own = {code for model in (Flow, FlowRun) for code, _ in model._meta.permissions}
    given = frozenset().union(*ROLES.values())
    assert own <= given
    for model in (FlowTrigger, FlowVersion):
        assert not model._meta.permissions


@pytest.mark.once
@pytest.mark.parametrize("role", [*ROLES, "superuser"])
def test_each_address_answers_each_role_as_the_table_says(
    clients: dict[str, tuple[Client, frozenset[str]]],
    subjects: dict[str, tuple[int, ...]],
    role: str,
) -> None:
    client, rights = clients[role]
    wrong = []
    for row in TABLE:
        where = address(row, subjects[row.kind])
        for method, ask in (("get", row.get), ("post", row.post)):
            status = answer(client, method, where, ask).status_code
            if status != ask.expected(rights):
                what = f"{row.name} {row.kind} {row.extra} {method}"
                wrong.append(f"{what}: {status}, not {ask.expected(rights)}")
    assert not wrong, "\n".join(wrong)


def test_each_address_asks_the_anonymous_for_their_login(
    subjects: dict[str, tuple[int, ...]],
) -> None:
    client = Client()
    for row in TABLE:
        for method, ask in (("get", row.get), ("post", row.post)):
            response = answer(client, method, address(row, subjects[row.kind]), ask)
            if response.status_code == 403:
                # What was typed is kept in a page with a link to the login.
                assert "logged_out" in str(response.templates[0].name), row
                continue
            assert response.status_code == LOGIN, row
            assert "/login/" in response["Location"], row


def test_users_who_are_not_staff_are_asked_for_another_login(
    subjects: dict[str, tuple[int, ...]],
) -> None:
    user = make_user("customer", *frozenset().union(*ROLES.values()))
    User.objects.filter(pk=user.pk).update(is_staff=False)
    client = logged_in(user)
    for row in TABLE:
        response = client.get(address(row, subjects[row.kind]))
        assert (response.status_code, "/login/" in response["Location"]) == (LOGIN, True), row


@pytest.mark.parametrize("name", ACTIONS)
def test_a_bulk_action_is_done_by_those_who_may_operate_and_offered_to_no_others(
    clients: dict[str, tuple[Client, frozenset[str]]],
    subjects: dict[str, tuple[int, ...]],
    name: str,
) -> None:
    kind, data = ACTIONS[name]
    (pk,) = subjects[kind]
    before = list(FlowRun.objects.order_by("pk").values())
    where = reverse(f"admin:{APP}flowrun_changelist")
    sent = {"action": f"{name}_runs", "_selected_action": str(pk), **data}
    for role, (client, rights) in clients.items():
        may = rights.issuperset(OPERATE)
        asked = answer(client, "post", where, Ask(200, data=sent))
        done = answer(client, "post", where, Ask(302, data={**sent, "confirmed": "1"}))
        if "view_flowrun" in rights:
            assert ("operate_many" in str(asked.templates[0].name)) == may, role
            assert done.status_code == (302 if may else 200), role
        else:
            assert (asked.status_code, done.status_code) == (403, 403), role
    assert list(FlowRun.objects.order_by("pk").values()) == before


def test_no_address_takes_another_method(
    client: Client, subjects: dict[str, tuple[int, ...]]
) -> None:
    for row in TABLE:
        where = address(row, subjects[row.kind])
        for method in ("delete", "put", "patch", "options"):
            assert getattr(client, method)(where).status_code == 405, (row.name, method)


def test_the_routes_say_which_methods_they_take() -> None:
    by_name = {row.name: row for row in TABLE}
    for route in (*FLOW_ROUTES, *RUN_ROUTES):
        row = by_name[route.name]
        assert ("GET" in route.methods) == (row.get.status != 302), route.name
        assert ("POST" in route.methods) == (row.post.status != 405), route.name


def test_changes_need_the_token_against_forged_requests(
    admin_user: User, subjects: dict[str, tuple[int, ...]], live: Flow
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    for row in TABLE:
        if row.post.status != 405:
            where = address(row, subjects[row.kind])
            assert client.post(where, row.post.data).status_code == 403, row
    live.refresh_from_db()
    assert live.active
