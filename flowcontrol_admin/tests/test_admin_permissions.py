"""Every view and operation as everybody: one table, which has to name every view there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from flowcontrol.flows import associate_trigger
from flowcontrol.models import Flow, FlowRun
from flowcontrol_admin.routes import FLOW_ROUTES, RUN_ROUTES

from .conftest import logged_in, make_user

LOGIN = 302


@dataclass(frozen=True)
class Case:
    """A request, and its status for anonymous, staff, view-only, change, operate, superuser."""

    name: str
    method: str
    expected: tuple[int, int, int, int, int, int]
    data: dict[str, Any] = field(default_factory=dict)
    kind: str = "flow"
    extra: tuple[object, ...] = ()


def look(name: str, *, kind: str = "flow", extra: tuple[object, ...] = ()) -> Case:
    """A page that everybody with the permission to view sees."""
    return Case(name, "get", (LOGIN, 403, 200, 200, 200, 200), {}, kind, extra)


def change(view: str, method: str, status: int, /, *extra: object, **data: Any) -> Case:
    """What only those may do who may change flows."""
    return Case(view, method, (LOGIN, 403, 403, status, 403, status), data, "flow", extra)


def do(name: str, status: int, **data: Any) -> Case:
    """What only those may do who have a permission of its own."""
    return Case(name, "post", (LOGIN, 403, 403, 403, status, status), data)


def operate(slug: str, kind: str, status: int, **data: Any) -> list[Case]:
    expected = (LOGIN, 403, 403, 403)
    return [
        Case("flowrun_operate", "get", (*expected, 200, 200), {}, kind, (slug,)),
        Case("flowrun_operate", "post", (*expected, status, status), data, kind, (slug,)),
    ]


SETTINGS = {"name": "New", "object": "", "guard": "", "time_zone": ""}
YAML = "format: 1\nflows: []\n"
CASES = [
    look("flow_changelist", kind="none"),
    Case("flow_add", "get", (LOGIN, 403, 403, 200, 403, 200), {}, "none"),
    Case(
        "flow_add", "post", (LOGIN, 403, 403, 302, 403, 302), {**SETTINGS, "key": "new"}, "none"
    ),
    look("flow_change"),
    change("flow_change", "post", 302, **SETTINGS),
    change("flow_delete", "get", 200),
    change("flow_delete", "post", 409),
    Case("flow_delete", "post", (LOGIN, 403, 403, 302, 403, 302), {}, "draft"),
    look("flow_history"),
    look("flow_plugins", kind="none"),
    look("flow_health", kind="none"),
    look("flow_health_json", kind="none"),
    Case("flow_import", "get", (LOGIN, 403, 403, 200, 403, 200), {}, "none"),
    Case("flow_import", "post", (LOGIN, 403, 403, 200, 403, 200), {"text": YAML}, "none"),
    look("flow_export_all", kind="none"),
    look("flow_export"),
    look("flow_editor"),
    change("flow_step_add", "get", 200),
    change("flow_step_add", "post", 302, action="test.greet", place="//0"),
    change("flow_step_configure", "get", 200, "hello"),
    change("flow_step_configure", "post", 200, "hello"),
    change("flow_step_move", "get", 200, "hello"),
    change("flow_step_move", "post", 302, "hello", place="//1"),
    change("flow_step_note", "get", 200, "hello"),
    change("flow_step_note", "post", 302, "hello", note="well"),
    change("flow_step_policy", "get", 200, "hello"),
    change("flow_step_policy", "post", 302, "hello", if_unknown="fail"),
    change("flow_step_delete", "get", 200, "hello"),
    change("flow_step_delete", "post", 302, "hello"),
    change("flow_step_duplicate", "post", 302, "hello"),
    change("flow_step_duplicate", "get", 405, "hello"),
    change("flow_step_shift", "post", 302, "hello", by="1"),
    change("flow_step_shift", "get", 405, "hello"),
    change("flow_step_disable", "post", 302, "hello", disabled="1"),
    change("flow_step_disable", "get", 405, "hello"),
    look("flow_publish"),
    do("flow_publish", 409),
    Case("flow_publish", "post", (LOGIN, 403, 403, 403, 302, 302), {}, "draft"),
    do("flow_activate", 302),
    do("flow_deactivate", 302),
    do("flow_pause", 302),
    do("flow_resume", 302),
    *(
        Case(name, "get", (LOGIN, 403, 403, 403, 405, 405))
        for name in ("flow_activate", "flow_deactivate", "flow_pause", "flow_resume")
    ),
    look("flow_versions"),
    look("flow_version", extra=(1,)),
    change("flow_restore", "post", 302, 1),
    change("flow_restore", "get", 405, 1),
    change("flow_discard", "get", 400),
    change("flow_discard", "post", 400),
    change("flow_trigger_pick", "get", 200),
    change("flow_trigger_add", "get", 200, "test.noon"),
    change("flow_trigger_add", "post", 302, "test.noon", mode="start", active="on"),
    Case("flow_trigger", "get", (LOGIN, 403, 200, 200, 200, 200), {}, "trigger"),
    Case("flow_trigger", "post", (LOGIN, 403, 403, 302, 403, 302), {"mode": "start"}, "trigger"),
    Case("flow_trigger_toggle", "post", (LOGIN, 403, 403, 302, 403, 302), {}, "trigger"),
    Case("flow_trigger_toggle", "get", (LOGIN, 403, 403, 405, 403, 405), {}, "trigger"),
    Case("flow_trigger_delete", "get", (LOGIN, 403, 403, 200, 403, 200), {}, "trigger"),
    Case("flow_trigger_delete", "post", (LOGIN, 403, 403, 302, 403, 302), {}, "trigger"),
    Case("flow_start", "get", (LOGIN, 403, 403, 403, 200, 200)),
    do("flow_start", 302),
    look("flowrun_changelist", kind="none"),
    Case(
        "flowrun_changelist", "post", (LOGIN, 403, 200, 200, 302, 302),
        {"action": "cancel_runs", "_selected_action": "1", "confirmed": "1"}, "none",
    ),
    look("flowrun_change", kind="waiting"),
    *operate("cancel", "waiting", 302, reason="no longer needed"),
    *operate("pause", "waiting", 302),
    *operate("run-now", "waiting", 302),
    *operate("skip", "waiting", 302),
    *operate("go-to-step", "waiting", 302, step="bye"),
    *operate("edit-state", "waiting", 302, state="{}"),
    *operate("retry", "failed", 302),
    *operate("restart", "failed", 302, step="oops"),
    *operate("move", "older", 302),
]  # fmt: skip
VIEWING = ("view_flow", "view_flowrun")


PERMISSIONS: dict[str, tuple[str, ...]] = {
    "staff": (),
    "view": VIEWING,
    "change": (*VIEWING, "add_flow", "change_flow", "delete_flow"),
    "operate": (*VIEWING, "publish_flow", "activate_flow", "start_flow", "operate_flowrun"),
}


@pytest.fixture
def clients(admin_user: User) -> dict[str, Client]:
    limited = {name: logged_in(make_user(name, *found)) for name, found in PERMISSIONS.items()}
    return {"anonymous": Client(), **limited, "superuser": logged_in(admin_user)}


@pytest.fixture
def subjects(
    live: Flow, draft: Flow, waiting: FlowRun, failed: FlowRun, older: FlowRun
) -> dict[str, Any]:
    """What the cases are about, by their kind."""
    association = associate_trigger(live, "test.noon")
    return {
        "none": (),
        "flow": (live.pk,),
        "draft": (draft.pk,),
        "trigger": (live.pk, association.pk),
        "waiting": (waiting.pk,),
        "failed": (failed.pk,),
        "older": (older.pk,),
    }


def _answer(case: Case, client: Client, subject: tuple[int, ...]) -> int:
    """Make the request, and undo whatever it has done."""
    address = reverse(f"admin:flowcontrol_core_{case.name}", args=(*subject, *case.extra))
    query = "?place=//0" if case.name == "flow_step_add" else ""
    data = {"revision": 1, **case.data} if case.method == "post" else None
    with transaction.atomic():
        # An answer of 500 raises here.
        response = getattr(client, case.method)(address + query, data)
        transaction.set_rollback(True)
    if response.status_code == LOGIN and client.session.is_empty():
        assert "/login/" in response["Location"], case
    status: int = response.status_code
    return status


def test_each_view_answers_each_user_as_the_table_says(
    clients: dict[str, Client], subjects: dict[str, Any]
) -> None:
    wrong = []
    for case in CASES:
        for (role, client), expected in zip(clients.items(), case.expected, strict=True):
            status = _answer(case, client, subjects[case.kind])
            if status != expected:
                what = f"{case.name} {case.method} {case.extra} {role}"
                wrong.append(f"{what}: {status}, not {expected}")
    assert not wrong, "\n".join(wrong)


def test_the_table_names_every_view_of_the_admin() -> None:
    urls = [
        pattern
        for model in (Flow, FlowRun)
        for pattern in admin.site.get_model_admin(model).get_urls()
    ]
    names = {str(pattern.name).removeprefix("flowcontrol_core_") for pattern in urls}
    assert names == {case.name for case in CASES}


def test_view_only_staff_change_nothing_by_bulk_actions(waiting: FlowRun, db: None) -> None:
    client = logged_in(make_user("viewer", *VIEWING))
    data = {"action": "cancel_runs", "_selected_action": str(waiting.pk), "confirmed": "1"}
    client.post(reverse("admin:flowcontrol_core_flowrun_changelist"), data)
    waiting.refresh_from_db()
    assert waiting.status == "waiting"


def test_pages_that_change_nothing_take_no_post_and_no_other_method(
    client: Client, subjects: dict[str, Any]
) -> None:
    for route in (*FLOW_ROUTES, *RUN_ROUTES):
        case = next(case for case in CASES if f"{case.name}" == route.name)
        address = reverse(
            f"admin:flowcontrol_core_{route.name}", args=(*subjects[case.kind], *case.extra)
        )
        assert client.delete(address).status_code == 405
        if "POST" not in route.methods:
            assert client.post(address).status_code == 405, route.name
        if "GET" not in route.methods:
            assert client.get(address).status_code == 405, route.name


def test_changes_need_the_token_against_forged_requests(admin_user: User, live: Flow) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    address = reverse("admin:flowcontrol_core_flow_deactivate", args=(live.pk,))
    assert client.post(address).status_code == 403
    live.refresh_from_db()
    assert live.active
