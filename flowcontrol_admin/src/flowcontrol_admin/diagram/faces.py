"""From a document to a plan: how its steps are drawn, and where they lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from flowcontrol.flows import branch_label, describe_step, offered_branches, step_label
from flowcontrol_admin.diagram.overlay import Overlay
from flowcontrol_admin.diagram.plan import TOP, Face, Lane, ListKey, Plan, reading_order
from flowcontrol_admin.pictures import ends, picture_of
from flowcontrol_core.document.diff import diff
from flowcontrol_core.document.tree import Document, Step


def plan_of(document: Document) -> Plan:
    """Return the plan of a document."""
    faces = {step_id: _face(visit.step, document) for step_id, visit in document.index.items()}
    return _plan(_lists(document), faces)


def plan_of_difference(old: Document, new: Document) -> tuple[Plan, Overlay]:
    """Return a plan of the new document that has the removed steps too, and what changed."""
    found = diff(old, new)
    marks = {
        **{moved.step.id: "moved" for moved in found.moved},
        **{changed.new.id: "changed" for changed in found.changed},
        **{visit.step.id: "added" for visit in found.added},
        **{visit.step.id: "removed" for visit in found.removed},
    }
    removed = {visit.step.id: _face(visit.step, old) for visit in found.removed}
    faces = {step_id: _face(visit.step, new) for step_id, visit in new.index.items()} | removed
    before, after = _lists(old), _lists(new)
    lists = {
        key: _merged(before.get(key, ()), after.get(key, ()), removed) for key in before | after
    }
    return _plan(lists, _with_lanes(lists, faces)), Overlay(kind="diff", marks=marks)


def _plan(lists: Mapping[ListKey, tuple[str, ...]], faces: Mapping[str, Face]) -> Plan:
    return Plan(order=reading_order(lists, faces), lists=lists, faces=faces)


def _lists(document: Document) -> dict[ListKey, tuple[str, ...]]:
    lists = {TOP: tuple(step.id for step in document.steps)}
    for step_id, visit in document.index.items():
        for branch, steps in visit.step.branches.items():
            lists[ListKey(step_id, branch)] = tuple(step.id for step in steps)
    return lists


def _merged(
    before: tuple[str, ...], after: tuple[str, ...], removed: Mapping[str, Face]
) -> tuple[str, ...]:
    """Return a list with the removed steps after those that they stood after."""
    gone: dict[str, list[str]] = {}
    kept, anchor = {*after}, ""
    for step in before:
        if step in kept:
            anchor = step
        elif step in removed:
            gone.setdefault(anchor, []).append(step)
    return tuple(each for step in ("", *after) for each in (step, *gone.get(step, ())) if each)


def _with_lanes(
    lists: Mapping[ListKey, tuple[str, ...]], faces: Mapping[str, Face]
) -> dict[str, Face]:
    """Add lanes for the steps in branches that only the old document has."""
    found = dict(faces)
    for key, steps in lists.items():
        if key == TOP or not steps or key.step not in found:
            continue
        face = found[key.step]
        if all(lane.name != key.branch for lane in face.lanes):
            lane = Lane(name=key.branch, label=key.branch)
            found[key.step] = replace(face, lanes=(*face.lanes, lane))
    return found


def _face(step: Step, document: Document) -> Face:
    picture = picture_of(step)
    return Face(
        title=step_label(step),
        text=describe_step(step, document).rest,
        icon=picture.icon,
        kind=picture.kind,
        lanes=tuple(_lanes(step)),
        is_loop=picture.is_loop,
        is_parallel=picture.icon == "parallel",
        is_disabled=step.disabled,
        ends=ends(step),
    )


def _lanes(step: Step) -> Iterator[Lane]:
    offered = offered_branches(step)
    others = (name for name, steps in step.branches.items() if steps and name not in offered)
    for name in (*offered, *others):
        yield Lane(name=name, label=branch_label(step, name), is_catch=name == "catch")
