"""Export and import: the same flow elsewhere, nothing half done, no secrets."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User

from flowcontrol import flows
from flowcontrol_core import bounds
from flowcontrol_core.actions.registry import Registry
from flowcontrol_core.document.format import parse, to_data
from flowcontrol_core.errors import DocumentError, EditError, PublishError
from flowcontrol_core.flows import yaml_text
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.flows.imports import import_flows
from flowcontrol_core.models import Flow, FlowTrigger, FlowVersion, LimitPolicy, Mode
from tests.shop.models import Customer

from .conftest import Greet, choose, document, greet, step

pytestmark = pytest.mark.django_db


def make(*steps: dict[str, Any], key: str = "welcome", **fields: Any) -> Flow:
    return flows.create_flow(key=key, name="Welcome", document=document(*steps), **fields)


def exported(*flows: Flow, **options: Any) -> Any:
    return yaml.safe_load(export_flows(flows, **options))


def written(*steps: dict[str, Any], **rest: Any) -> str:
    item = {"key": "welcome", "name": "Welcome", "document": {"format": 1, "steps": list(steps)}}
    return yaml.safe_dump({"format": 1, "flows": [{**item, **rest}]})


def problems_of(text: str, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(DocumentError) as caught:
        import_flows(text, **options)
    assert not Flow.objects.exists()
    return [(problem.path, problem.message) for problem in caught.value.problems]


OPTIONS: dict[str, Any] = {
    "max_concurrent_policy": LimitPolicy.QUEUE,
    "max_concurrent_per_object": 2,
    "max_concurrent_per_object_policy": LimitPolicy.REPLACE,
    "queue": "slow",
    "retention_days": 7,
    "retention_runs": 0,
}


def test_each_column_of_a_flow_is_exported_or_a_matter_of_the_site() -> None:
    values: dict[str, Any] = {**OPTIONS, "max_concurrent": 1, "max_per_object": 1}
    data = exported(make(greet("aaaa"), description="why", **values))["flows"][0]
    columns = {field.name for field in Flow._meta.concrete_fields}
    of_the_site = {"id", "active", "paused", "published", "created_at", "updated_at"}
    assert columns - of_the_site == {*data, *data["limits"]} - {"limits", "triggers", "document"}


def test_what_the_file_says_of_a_flow_that_exists_is_in_force_at_once() -> None:
    flow = make(greet("aaaa"), max_concurrent=3, **OPTIONS)
    text = export_flows([flow])
    flows.change_flow(
        flow, queue="default", retention_days=None, retention_runs=9, max_concurrent_policy="skip"
    )
    [result] = import_flows(text)
    assert {name: getattr(result.flow, name) for name in OPTIONS} == OPTIONS
    (note,) = result.notes
    assert note.startswith("Changed at once, because they are not part of a version: ")
    assert note.endswith(": max_concurrent_policy, queue, retention_days, retention_runs.")


def test_what_a_file_leaves_out_is_as_in_a_new_flow() -> None:
    flow = make(greet("aaaa"), max_concurrent=3, **OPTIONS)
    [result] = import_flows(written(key=flow.key))
    present = result.flow
    assert (present.queue, present.retention_days, present.max_concurrent) == (
        "default",
        None,
        None,
    )
    assert present.max_concurrent_policy == "skip"


def test_exported_flow_is_imported_as_it_was(author: User) -> None:
    flow = make(
        choose("aaaa", then=[greet("bbbb", text="on: 2024-01-01 'ü' \n {{ object.name }}")]),
        description="why",
        max_concurrent=3,
        **OPTIONS,
    )
    flows.associate_trigger(flow, "test.noon", mode=Mode.GO_TO, step="aaaa", condition="payload.x")
    content, text = flows.present_document(flow), export_flows([flow])
    flow.delete()
    [result] = import_flows(text, author=author)
    assert (result.created, result.withheld, result.missing, result.notes) == (True, (), (), ())
    new = result.flow
    assert flows.present_document(new) == content
    assert (new.description, new.max_concurrent, new.max_per_object) == ("why", 3, None)
    assert {name: getattr(new, name) for name in OPTIONS} == OPTIONS
    assert (new.active, new.published, new.draft.author) == (False, None, str(author))
    association = FlowTrigger.objects.get(flow=new)
    assert (association.mode, association.step, association.active) == ("go_to", "aaaa", True)
    assert export_flows([new]) == text


def test_export_has_no_primary_keys_and_lists_the_plugins(actions: Registry) -> None:
    actions.add_action(type("Send", (Greet,), {}), plugin="sms", distribution="flowcontrol-sms")
    flow = make({**greet("aaaa"), "action": "sms.greet"}, {"id": "b", "action": "gone.thing"})
    data = exported(flow)
    assert data["plugins"] == [
        {"name": "gone"},
        {"name": "sms", "distribution": "flowcontrol-sms"},
    ]
    assert set(data["flows"][0]) == {
        "key", "name", "description", "limits", "queue", "triggers", "document",
    }  # fmt: skip


def test_published_version_is_exported_unless_the_draft_is_asked_for() -> None:
    flow = make(greet("aaaa"))
    flows.publish(flow)
    flows.delete_step(flow, "aaaa", revision=None)
    assert len(exported(flow)["flows"][0]["document"]["steps"]) == 1
    assert exported(flow, drafts=True)["flows"][0]["document"]["steps"] == []


def test_secrets_are_not_exported_and_the_import_says_so() -> None:
    flow = make(greet("aaaa", token="s3cret"))
    text = export_flows([flow])
    assert "s3cret" not in text
    flow.delete()
    [result] = import_flows(text)
    assert "token" not in flows.present_document(result.flow).steps[0].config
    [missing] = result.withheld
    assert (missing.step, missing.field) == ("aaaa", "token")
    assert "enter it" in missing.message


def test_secret_of_an_older_configuration_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Greet, "secret_fields", ("text",))
    old = step("aaaa", "greet", config={"message": "s3cret", "times": 1}, config_version=1)
    data = exported(make(old))["flows"][0]["document"]["steps"][0]
    assert (data["config"]["text"], data["config_version"]) == ({"$flowcontrol": "secret"}, 2)
    assert "s3cret" not in str(data)


def test_value_without_a_field_is_not_exported() -> None:
    data = exported(make(greet("aaaa", former_token="s3cret")))
    assert set(data["flows"][0]["document"]["steps"][0]["config"]) == {"text", "times"}


def test_secret_that_is_here_already_is_kept() -> None:
    flow = make(greet("aaaa", token="s3cret"))
    text = export_flows([flow]).replace("Hello", "Good day")
    [result] = import_flows(text)
    config = flows.present_document(flow).steps[0].config
    assert (config["token"], config["text"], result.withheld) == ("s3cret", "Good day", ())


def test_values_of_a_missing_action_may_be_secret() -> None:
    flow = make({"id": "aaaa", "action": "gone.thing", "config": {"password": "s3cret"}})
    text = export_flows([flow])
    assert "s3cret" not in text
    [result] = import_flows(text)
    assert result.missing == ("gone",)
    assert flows.present_document(flow).steps[0].config == {"password": "s3cret"}


def test_reference_by_primary_key_is_not_exported() -> None:
    customer = Customer.objects.create(name="Ada")
    flow = make(greet("aaaa", customer=str(customer.pk)))
    config = exported(flow)["flows"][0]["document"]["steps"][0]["config"]
    assert config["customer"] == {"$flowcontrol": "reference"}


def test_import_into_an_existing_flow_changes_its_draft_only() -> None:
    flow = make(greet("aaaa"))
    published = flows.publish(flow)
    flows.activate(flow)
    text = written(greet("bbbb"), triggers=[{"trigger": "test.noon"}], limits={"max_concurrent": 5})
    [result] = import_flows(text)
    flow.refresh_from_db()
    assert (result.created, flow.published, flow.active) == (False, published, True)
    assert flows.get_document(published).step_ids() == ("aaaa",)
    assert flows.present_document(flow).step_ids() == ("bbbb",)
    assert not FlowTrigger.objects.get().active
    assert any("max_concurrent" in note for note in result.notes)
    assert any("switched off" in note for note in result.notes)


def test_import_says_that_it_replaced_unpublished_changes() -> None:
    flow = make(greet("aaaa"))
    flows.publish(flow)
    flows.delete_step(flow, "aaaa", revision=None)
    [result] = import_flows(written(greet("bbbb")))
    assert any("replaced" in note for note in result.notes)


def test_second_import_of_the_same_file_changes_nothing() -> None:
    text = written(greet("aaaa"), triggers=[{"trigger": "test.noon"}])
    import_flows(text, publish=True)
    [again] = import_flows(text, publish=True)
    assert (FlowTrigger.objects.count(), FlowVersion.objects.count()) == (1, 1)
    assert (again.published, len(again.notes)) == (None, 1)


def test_flows_that_start_each_other_are_imported_and_published_together() -> None:
    flows = [
        {
            "key": key,
            "name": key,
            "document": {"format": 1, "steps": [step("aaaa", "start", config={"flow": other})]},
        }
        for key, other in (("one", "two"), ("two", "one"))
    ]
    text = yaml.safe_dump({"format": 1, "flows": flows})
    results = import_flows(text, publish=True, activate=True)
    assert all(result.published and result.activated and result.flow.active for result in results)


def test_flow_of_a_missing_plugin_is_imported_as_a_draft_but_not_published() -> None:
    text = yaml.safe_dump(
        {
            **yaml.safe_load(written({"id": "aaaa", "action": "gone.thing"})),
            "plugins": [{"name": "gone", "distribution": "flowcontrol-gone"}],
        }
    )
    with pytest.raises(PublishError, match=r"flows\[0\]\.document\.steps\[0\]\.action"):
        import_flows(text, publish=True)
    assert not Flow.objects.exists()
    [result] = import_flows(text)
    assert result.missing == ("gone (flowcontrol-gone)",)


def test_trigger_of_a_missing_plugin_is_imported_and_named() -> None:
    [result] = import_flows(written(greet("aaaa"), triggers=[{"trigger": "gone.event"}]))
    assert (result.missing, FlowTrigger.objects.get().trigger) == (("gone",), "gone.event")


def test_activating_what_is_not_published_imports_nothing() -> None:
    with pytest.raises(EditError, match="publish its draft"):
        import_flows(written(greet("aaaa")), activate=True)
    assert not Flow.objects.exists()


def test_one_bad_flow_among_good_ones_imports_nothing() -> None:
    good = yaml.safe_load(written(greet("aaaa")))["flows"][0]
    bad = {**good, "key": "bad", "triggers": [{"trigger": "test.noon", "condition": "a >"}]}
    [(path, _)] = problems_of(yaml_text.dump({"format": 1, "flows": [good, bad]}))
    assert path == "flows[1].triggers[0].condition"


def test_author_imports_no_action_that_asks_for_more(author: User) -> None:
    with pytest.raises(EditError, match=r"shop\.delete_order"):
        import_flows(written(step("aaaa", "guarded")), author=author)
    assert not Flow.objects.exists()


BAD_SHAPES: dict[str, tuple[str, str]] = {
    "no object": ("- 1", ""),
    "no flows": ("format: 1", "flows"),
    "newer": ("format: 2\nflows: []", "format"),
    "unknown key": ("format: 1\nflows: []\nflow: []", "flow"),
    "flows no list": ("format: 1\nflows: 3", "flows"),
    "flow no object": ("format: 1\nflows: [3]", "flows[0]"),
    "plugin no object": ("format: 1\nflows: []\nplugins: [sms]", "plugins[0]"),
    "flow key": (written(key="Not a key"), "flows[0].key"),
    "empty name": (written(name=""), "flows[0].name"),
    "unknown flow key": (written(colour="red"), "flows[0].colour"),
    "limit": (written(limits={"max_concurrent": 0}), "flows[0].limits.max_concurrent"),
    "limits no object": (written(limits=3), "flows[0].limits"),
    "policy": (
        written(limits={"max_concurrent_policy": "hope"}),
        "flows[0].limits.max_concurrent_policy",
    ),
    "unknown limit": (written(limits={"limit_policy": "skip"}), "flows[0].limits.limit_policy"),
    "queue": (written(queue="not a queue"), "flows[0].queue"),
    "long queue": (written(queue="q" * 51), "flows[0].queue"),
    "retention": (written(retention_days=-1), "flows[0].retention_days"),
    "retention text": (written(retention_runs="all"), "flows[0].retention_runs"),
    "step": (written({"id": "a"}), "flows[0].document.steps[0].action"),
    "date": ("format: 1\nflows: [{key: a, name: 2024-01-01, document: {}}]", "flows[0].name"),
    "trigger": (written(triggers=[{"trigger": "x"}]), "flows[0].triggers[0].trigger"),
    "trigger config": (
        written(triggers=[{"trigger": "test.noon", "config": 3}]),
        "flows[0].triggers[0].config",
    ),
    "restart target": (
        written(triggers=[{"trigger": "test.noon", "mode": "go_to", "step": "gone"}]),
        "flows[0].triggers[0].step",
    ),
    "syntax": ("format: 1\nflows: [", "line 2, column 9"),
    "alias": ("a: &x [1]\nb: *x", "line 1, column 4"),
    "twice": ("format: 1\nformat: 1\nflows: []", "line 2, column 1"),
    "python": ("format: !!python/object/apply:os.getcwd []", "line 1, column 9"),
    "not a date": ("format: 2024-99-99", ""),
    "control character": ("format: \x00", ""),
    "deep": ("[" * 300, "line 1, column 251"),
    "number": ("format: " + "1" * 5000, ""),
}


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_file_is_refused_with_the_place(case: str) -> None:
    text, path = BAD_SHAPES[case]
    found = problems_of(text)
    assert path in [where for where, _ in found], found
    assert all(message for _, message in found)


def test_same_key_twice_in_a_file_is_refused() -> None:
    item = yaml.safe_load(written())["flows"][0]
    [(path, message)] = problems_of(yaml_text.dump({"format": 1, "flows": [item, item]}))
    assert (path, "flows[0]" in message) == ("flows[1].key", True)


def test_file_of_more_than_a_mebibyte_is_refused_unread() -> None:
    [(_, message)] = problems_of("a: " + "x" * bounds.FILE_BYTES)
    assert "larger than 1,024 KiB" in message


def test_laughs_do_not_unfold() -> None:
    lines = ["a0: &a0 [ha, ha]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    [(path, message)] = problems_of("\n".join(lines))
    assert (path, "aliases" in message) == ("line 1, column 5", True)


def test_export_that_could_not_be_imported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FILE_BYTES", 100)
    with pytest.raises(EditError, match="export fewer flows"):
        export_flows([make(greet("aaaa"))])


def test_deepest_possible_document_can_be_written_and_read() -> None:
    content: dict[str, Any] = greet("leaf")
    for level in range(bounds.BRANCH_DEPTH):
        content = choose(f"s{level}", then=[content])
    deepest = document(content)
    data = yaml_text.load(yaml_text.dump({"flows": [{"document": to_data(deepest)}]}))
    assert parse(data["flows"][0]["document"]) == deepest
