"""The editor: what it shows, and each operation on a step."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.flows import (
    configure_step,
    create_flow,
    present_document,
    present_revision,
    step_form,
)
from flowcontrol.models import Flow, FlowRun, FlowVersion
from flowcontrol.testing import flow as build
from flowcontrol.testing import step, temporary_registry
from flowcontrol_core.document.tree import Document, Step

from .conftest import Small, logged_in, make_user, text_of, url


def post(client: Client, name: str, flow: Flow, *args: object, **data: Any) -> Any:
    data.setdefault("revision", present_revision(flow))
    return client.post(url(name, flow.pk, *args), data, follow=True)


def ids(flow: Flow) -> tuple[str, ...]:
    return present_document(flow).step_ids()


def find(flow: Flow, step_id: str) -> Step:
    found = present_document(flow).find(step_id)
    assert found is not None
    return found


def test_the_editor_costs_as_many_queries_for_500_steps_as_for_6(client: Client) -> None:
    def queries(count: int) -> int:
        steps = [step("test.greet", text="Hello", times=1) for _ in range(count)]
        flow = create_flow(key=f"f{count}", name="Flow", document=build(*steps))
        with CaptureQueriesContext(connection) as caught:
            assert client.get(url("flow_editor", flow.pk)).status_code == 200
            return len(caught)

    assert 0 < queries(6) == queries(500) <= 12


def test_the_page_of_200_steps_is_small(client: Client) -> None:
    """It is sent again after each edit."""
    mail = step("builtin.send_email", to="a@b.example", subject="Order {{ object }}", text="Hi")
    inside = [step("builtin.update_state", state={"a": 1}), step("builtin.delay", amount="3")]
    other: Any = {"then": inside, "else": [mail]}
    fork = step("builtin.if", condition="object.total > 100", **other)
    nested = step("builtin.if", condition="n > 1", then=[step("builtin.leave_branch", to="loop")])
    loop = step("builtin.for", end="3", variable="n", body=[nested, *inside])
    steps = [one for _ in range(20) for one in (mail, fork, loop)]
    flow = create_flow(key="big", name="Big", document=build(*steps))
    assert len(ids(flow)) == 200
    assert len(client.get(url("flow_editor", flow.pk)).content) <= 150 * 1024


def test_a_document_as_deep_as_can_be_is_shown(client: Client) -> None:
    inner = step("test.greet", text="Hello", times=1)
    for _ in range(50):
        inner = step("test.choose", condition="True", then=[inner])
    flow = create_flow(key="deep", name="Deep", document=build(inner))
    response = client.get(url("flow_editor", flow.pk))
    assert response.status_code == 200
    assert response.content.decode().count('class="fc-step ') == 51
    assert client.get(url("flow_step_move", flow.pk, inner.id or "s1")).status_code == 200


def test_steps_are_shown_with_summary_branches_and_problems(client: Client, draft: Flow) -> None:
    post(client, "flow_step_add", draft, action="test.customers", place="fork/else/0")
    response = client.get(url("flow_editor", draft.pk))
    page = text_of(response)
    assert "Says Hello" in page
    assert "Add first in “Then” of If" in response.content.decode()
    assert "Add first in “Else” of If" in response.content.decode()
    assert "Problem:" in page


def test_adding_leads_to_a_form_with_defaults_and_without_errors(
    client: Client, draft: Flow
) -> None:
    response = post(client, "flow_step_add", draft, action="test.greet", place="fork/else/0")
    (added,) = find(draft, "fork").branches["else"]
    assert response.redirect_chain[-1][0] == f"{url('flow_step_configure', draft.pk, added.id)}?new"
    assert "errorlist" not in response.content.decode()
    assert response.context["form"]["times"].value() == 3
    assert response.context["form"]["text"].value() == "Hello"


def test_an_action_without_configuration_leads_back_to_its_step(
    client: Client, draft: Flow
) -> None:
    response = post(client, "flow_step_add", draft, action="test.wait", place="//0")
    assert response.redirect_chain[-1][0].startswith(url("flow_editor", draft.pk) + "#step-")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"action": "test.greet", "place": ""}, 400),
        ({"action": "test.greet", "place": "nonsense"}, 400),
        ({"action": "test.greet", "place": "//" + "9" * 40}, 400),
        ({"action": "test.greet", "place": "//999"}, 404),
        ({"action": "test.greet", "place": "nosuch/then/0"}, 404),
        ({"action": "test.greet", "place": "fork/elsewhere/0"}, 404),
        ({"action": "test.greet", "place": "hello/then/0"}, 404),
        ({"action": "no.such", "place": "//0"}, 400),
        ({"action": "", "place": "//0"}, 400),
        ({"action": "test.greet", "place": "//0", "revision": ""}, 400),
        ({"action": "test.greet", "place": "//0", "revision": "x"}, 400),
        ({"action": "test.greet", "place": "//0", "revision": "9" * 40}, 400),
        ({"action": "test.greet", "place": "//0", "revision": "77"}, 409),
    ],
)
def test_a_bad_addition_is_refused_and_changes_nothing(
    client: Client, draft: Flow, data: dict[str, str], status: int
) -> None:
    before = ids(draft)
    assert post(client, "flow_step_add", draft, **data).status_code == status
    assert ids(draft) == before


def test_the_picker_offers_what_fits_the_object_the_user_and_the_search(draft: Flow) -> None:
    author = make_user("author", "view_flow", "change_flow")
    client = logged_in(author)
    address = url("flow_step_add", draft.pk)
    page = client.get(address, {"place": "//0"}).content.decode()
    assert "test.greet" in page
    assert "test.guarded" not in page
    assert "test.customers" not in page
    page = client.get(address, {"place": "//0", "q": "says HELLO"}).content.decode()
    assert "test.greet" in page
    assert "test.wait" not in page
    assert "No action matches" in text_of(client.get(address, {"place": "//0", "q": "zzz"}))


def test_an_action_with_a_permission_is_refused_to_those_without(draft: Flow) -> None:
    client = logged_in(make_user("author", "view_flow", "change_flow"))
    response = post(client, "flow_step_add", draft, action="test.guarded", place="//0")
    assert response.status_code == 403
    guarded = create_flow(key="g", name="G", document=build(step("test.guarded", id="g")))
    for name in ("flow_step_configure", "flow_step_duplicate"):
        assert post(client, name, guarded, "g").status_code == 403
    # Moving and disabling it do not depend on what it does.
    assert post(client, "flow_step_disable", guarded, "g", disabled="1").status_code == 200


def test_configuring_stores_the_form_and_shows_errors_at_fields(
    client: Client, draft: Flow
) -> None:
    data = {"step-hello-text": "Hi {{ object }}", "step-hello-times": "2"}
    post(client, "flow_step_configure", draft, "hello", **data)
    assert find(draft, "hello").config["text"] == "Hi {{ object }}"
    response = post(
        client, "flow_step_configure", draft, "hello",
        **{"step-hello-text": "{{ broken", "step-hello-times": "9" * 50},
    )  # fmt: skip
    assert response.status_code == 200
    assert set(response.context["form"].errors) == {"text", "times"}
    assert find(draft, "hello").config["times"] == 2


def test_the_first_edit_of_a_published_flow_opens_a_draft(client: Client, live: Flow) -> None:
    assert "Your first change opens a draft" in text_of(client.get(url("flow_editor", live.pk)))
    post(client, "flow_step_note", live, "hello", note="well")
    assert FlowVersion.objects.get(draft_of=live).number == 2
    assert find(live, "hello").note == "well"
    assert live.published is not None
    assert "note" not in live.published.document["steps"][0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("flow_step_configure", {"step-hello-text": "What I typed", "step-hello-times": "1"}),
        ("flow_step_note", {"note": "What I typed"}),
        ("flow_step_move", {"place": "//1"}),
        ("flow_step_policy", {"attempts": "4", "if_unknown": "fail"}),
        ("flow_step_delete", {}),
        ("flow_step_duplicate", {}),
        ("flow_step_shift", {"by": "1"}),
        ("flow_step_disable", {"disabled": "1"}),
    ],
)
def test_a_stale_edit_overwrites_nothing_and_shows_what_was_typed(
    client: Client, draft: Flow, name: str, data: dict[str, str], other: User
) -> None:
    seen = present_revision(draft)
    form = step_form(
        find(draft, "bye"), {"step-bye-text": "Mine", "step-bye-times": "1"},
        document=present_document(draft),
    ).form  # fmt: skip
    assert form is not None
    configure_step(draft, "bye", form, revision=seen, author=other)
    before = present_document(draft)
    response = post(client, name, draft, "hello", revision=seen, **data)
    assert response.status_code == 409
    page = text_of(response)
    assert "changed by grace at" in page
    assert "Nothing was saved" in page
    assert all(value in response.content.decode() for value in data.values())
    assert present_document(draft) == before


def test_a_step_of_another_flow_or_none_is_not_found(
    client: Client, draft: Flow, failed: FlowRun
) -> None:
    for step_id in ("oops", "nosuch"):
        for name in ("configure", "move", "note", "policy", "delete"):
            assert client.get(url(f"flow_step_{name}", draft.pk, step_id)).status_code == 404
            assert post(client, f"flow_step_{name}", draft, step_id).status_code == 404
        for name in ("duplicate", "shift", "disable"):
            assert post(client, f"flow_step_{name}", draft, step_id).status_code == 404


def test_a_step_cannot_be_moved_into_another_flow_or_into_itself(
    client: Client, draft: Flow, failed: FlowRun
) -> None:
    before = present_document(draft)
    for place in ("oops/then/0", "fork/then/0", "//99", "", "x"):
        response = post(client, "flow_step_move", draft, "fork", place=place)
        assert response.status_code == 200
        assert response.context["form"].errors["place"]
    assert present_document(draft) == before


def test_moving_offers_the_legal_places_in_words_and_moves(client: Client, draft: Flow) -> None:
    page = text_of(client.get(url("flow_step_move", draft.pk, "hello")))
    assert "Top level, at the beginning (current place)" in page
    assert "In “Then” of 2 “If”, after 2.then.1 “Wait”" in page
    assert "In “Else” of 2 “If”" in page
    post(client, "flow_step_move", draft, "hello", place="fork/then/1")
    assert ids(draft) == ("fork", "wait", "hello", "bye")


def test_a_move_that_does_nothing_says_so(client: Client, draft: Flow) -> None:
    response = post(client, "flow_step_move", draft, "hello", place="//0")
    assert "nothing was moved" in text_of(response)
    assert "Moved" not in text_of(response)


def test_shifting_past_the_end_is_refused(client: Client, draft: Flow) -> None:
    post(client, "flow_step_shift", draft, "hello", by="1")
    assert ids(draft)[-1] == "hello"
    response = post(client, "flow_step_shift", draft, "hello", by="1")
    assert response.status_code == 400
    assert "last of its list" in text_of(response)
    assert post(client, "flow_step_shift", draft, "hello", by="7").status_code == 400


def test_deleting_says_how_many_steps_go_and_how_many_runs_are_there(
    client: Client, waiting: FlowRun
) -> None:
    page = text_of(client.get(url("flow_step_delete", waiting.flow_id, "fork")))
    assert "3 steps" in page
    assert "1 run is at this step now" in page
    response = post(client, "flow_step_delete", waiting.flow, "fork")
    assert "Deleted 3 steps" in text_of(response)
    assert ids(waiting.flow) == ("hello",)
    waiting.refresh_from_db()
    assert waiting.status == "waiting"
    assert "1 run of an older version" in text_of(client.get(url("flow_editor", waiting.flow_id)))


def test_duplicating_keeps_the_configuration_of_everything_inside(
    client: Client, draft: Flow
) -> None:
    response = post(client, "flow_step_duplicate", draft, "fork")
    assert "Duplicated 3 steps" in text_of(response)
    copy = present_document(draft).steps[-1]
    assert copy.id != "fork"
    assert copy.branches["then"][1].config == find(draft, "bye").config


def test_a_disabled_step_is_shown_as_such_and_can_be_enabled(client: Client, draft: Flow) -> None:
    disabled = post(client, "flow_step_disable", draft, "hello", disabled="1")
    assert "Disabled “Greet”" in text_of(disabled)
    assert "Greet Says Hello off" in text_of(disabled)
    assert find(draft, "hello").disabled
    assert "Greet Says Hello off" not in text_of(
        post(client, "flow_step_disable", draft, "hello", disabled="0")
    )
    assert not find(draft, "hello").disabled


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"attempts": "0"}, "attempts"),
        ({"attempts": "9" * 40}, "attempts"),
        ({"attempts": "2", "backoff": "soon"}, "backoff"),
        ({"attempts": "2", "backoff": "nan"}, "backoff"),
        ({"timeout": "99999999d"}, "timeout"),
        ({"attempts": "2", "factor": "inf"}, "factor"),
        ({"timeout": "0"}, "__all__"),
        ({"if_unknown": "guess"}, "if_unknown"),
        ({"attempts": "2", "error_names": "OSError; rm"}, "error_names"),
    ],
)
def test_a_bad_policy_is_said_at_its_field(
    client: Client, draft: Flow, data: dict[str, str], field: str
) -> None:
    response = post(client, "flow_step_policy", draft, "hello", **{"if_unknown": "fail", **data})
    assert response.status_code == 200
    assert field in response.context["form"].errors


def test_a_policy_is_stored_and_shown(client: Client, draft: Flow) -> None:
    data = {"attempts": "4", "backoff": "2m", "timeout": "90", "if_unknown": "fail"}
    data["error_names"] = "OSError, smtplib.SMTPException"
    page = text_of(post(client, "flow_step_policy", draft, "hello", **data))
    assert "4 attempts" in page
    assert "timeout 90s" in page
    retry = find(draft, "hello").retry
    assert retry is not None
    assert (retry.attempts, retry.backoff, retry.factor) == (4, 120.0, 2.0)
    assert retry.errors == ("OSError", "smtplib.SMTPException")
    post(client, "flow_step_policy", draft, "hello", if_unknown="repeat")
    assert find(draft, "hello").retry is None


def test_a_step_whose_plugin_is_gone_has_a_text_instead_of_a_form(client: Client) -> None:
    document = Document(steps=(Step(id="gone", action="gone.away", config={"a": 1}),))
    flow = create_flow(key="gone", name="Gone", document=document)
    page = text_of(client.get(url("flow_step_configure", flow.pk, "gone")))
    assert "cannot be shown" in page
    assert "Install or enable the plugin 'gone'" in page
    assert "not available" in text_of(client.get(url("flow_editor", flow.pk)))
    assert post(client, "flow_step_configure", flow, "gone", a="2").status_code == 200
    assert find(flow, "gone").config == {"a": 1}
    assert client.get(url("flow_export", flow.pk)).status_code == 200
    assert post(client, "flow_deactivate", flow).status_code == 200
    for name, data in (("disable", {"disabled": "1"}), ("duplicate", {}), ("delete", {})):
        assert post(client, f"flow_step_{name}", flow, "gone", **data).status_code == 200
    assert post(client, "flow_delete", flow).status_code == 200
    assert not Flow.objects.exists()


def test_a_form_whose_code_fails_is_a_message_and_no_server_error(client: Client) -> None:
    flow = create_flow(key="b", name="B", document=build(step("test.broken", id="b")))
    assert client.get(url("flow_editor", flow.pk)).status_code == 200
    response = post(client, "flow_step_configure", flow, "b", **{"step-b-text": "x"})
    assert response.status_code == 400
    assert "ZeroDivisionError" in text_of(response)


def test_a_document_that_cannot_be_read_is_shown_as_a_problem(client: Client, draft: Flow) -> None:
    FlowVersion.objects.filter(draft_of=draft).update(document={"format": 99, "steps": "?"})
    page = text_of(client.get(url("flow_editor", draft.pk)))
    assert "format" in page
    assert client.get(url("flow_publish", draft.pk)).status_code in (200, 400)
    assert client.get(url("flow_change", draft.pk)).status_code in (200, 400)


def test_the_number_of_waiting_runs_links_to_these_runs(
    client: Client, waiting: FlowRun, failed: FlowRun
) -> None:
    page = client.get(url("flow_editor", waiting.flow_id)).content.decode()
    link = f"{url('flowrun_changelist')}?flow={waiting.flow_id}&amp;step=wait"
    assert link in page
    listed = client.get(link.replace("&amp;", "&"))
    assert [run.pk for run in listed.context["cl"].result_list] == [waiting.pk]
    elsewhere = client.get(f"{url('flowrun_changelist')}?flow={waiting.flow_id}&step=hello")
    assert list(elsewhere.context["cl"].result_list) == []


class Coloured(Small):
    name = "coloured"

    class Config(forms.Form):
        class Media:
            js = ("colours.js",)


class Unmakeable(Small):
    name = "unmakeable"

    class Config(forms.Form):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if not args and not kwargs:
                raise ZeroDivisionError("media")
            super().__init__(*args, **kwargs)


def test_what_the_forms_of_all_actions_load_is_in_the_page(client: Client, draft: Flow) -> None:
    with temporary_registry(Coloured, Unmakeable):
        page = client.get(url("flow_editor", draft.pk)).content.decode()
    assert page.index("colours.js") < page.index("</head>")


@pytest.fixture
def other(db: None) -> User:
    return make_user("grace")
