"""What an author may do beyond editing: place guarded actions, and change what is in force at once.

An author is a user whose permissions count; ``None`` is code, which may do everything.
"""

from __future__ import annotations

from django.utils.translation import gettext

from flowcontrol_core.actions.secrets import SecretField
from flowcontrol_core.document.tree import Document, Step, Visit
from flowcontrol_core.errors import NotPermittedError
from flowcontrol_core.flows.config_forms import known_action
from flowcontrol_core.flows.drafts import Author
from flowcontrol_core.models import Flow, FlowRun

PUBLISH = "flowcontrol_core.publish_flow"
ACTIVATE = "flowcontrol_core.activate_flow"
USE_SECRET = "flowcontrol_core.use_secret"  # noqa: S105 - the name of a permission


def has_permission(author: Author, permission: str, obj: object = None) -> bool:
    """Return whether an author has a permission, for all objects or for this one.

    A user model of a project's own need not have permissions: then it has none.
    """
    has_perm = getattr(author, "has_perm", None)
    if author is None or has_perm is None:
        return author is None
    return bool(has_perm(permission) or (obj is not None and has_perm(permission, obj)))


def refuse_without(permission: str, author: Author) -> None:
    """Raise NotPermittedError where an author does not have a permission."""
    if not has_permission(author, permission):
        text = gettext("You need the permission %(permission)r.")
        raise NotPermittedError(text % {"permission": permission})


def may_place(action_key: str, author: Author) -> bool:
    """Return whether an author may place an action; to be asked before it is offered."""
    permission = _permission(action_key)
    return not permission or has_permission(author, permission)


def may_use_secrets(author: Author) -> bool:
    """Return whether an author may choose the secrets of steps."""
    return has_permission(author, USE_SECRET)


def chosen_secrets(step: Step) -> frozenset[str]:
    """Return the names of the secrets that the configuration of a step refers to."""
    action = known_action(step.action)
    fields = action.Config.base_fields if action else {}
    chosen = (
        step.config.get(name) for name, field in fields.items() if isinstance(field, SecretField)
    )
    return frozenset(str(name) for name in chosen if name)


def refuse_unplaceable(old: Document, new: Document, author: Author, *, about: str = "") -> None:
    """Raise NotPermittedError where an edit asks for the permission of an action that is missing.

    It asks for it where it adds a step, or changes what a step does, where it stands, how often it
    is tried, that it is executed at all, or what a step around it does. Everybody may annotate,
    disable and delete a step. ``about`` is the id of the one step that an edit is about: the others
    of its list stay where they are.
    """
    for visit in new.index.values() if author else ():
        action = visit.step.action
        if not may_place(action, author) and _is_placed_anew(old, visit, new, about):
            text = gettext("You need the permission %(permission)r for the action %(action)r.")
            words = {"permission": _permission(action), "action": action}
            raise NotPermittedError(text % words)
        before = old.find(visit.step.id)
        if chosen_secrets(visit.step) - (chosen_secrets(before) if before else frozenset()):
            refuse_without(USE_SECRET, author)


def may_change_live(flow: Flow, author: Author) -> bool:
    """Return whether an author may change what is in force at once; to be asked before offering.

    Nothing of a flow is in force that is inactive and has no unfinished runs.
    """
    return any(has_permission(author, name, flow) for name in (PUBLISH, ACTIVATE)) or not (
        Flow.objects.filter(pk=flow.pk, active=True).exists()
        or FlowRun.objects.filter(flow=flow).live().exists()
    )


def refuse_live_change(flow: Flow, author: Author) -> None:
    """Raise NotPermittedError where an author may not change what is in force at once."""
    if not may_change_live(flow, author):
        text = gettext(
            "The flow “%(flow)s” is live, so this would be in force at once: you need the "
            "permission to publish or to activate flows. Without it, change a flow that is "
            "inactive and has no unfinished runs."
        )
        raise NotPermittedError(text % {"flow": flow.key})


def _permission(action_key: str) -> str:
    action = known_action(action_key)
    return action.permission if action else ""


def _is_placed_anew(old: Document, visit: Visit, new: Document, about: str) -> bool:
    before = old.index.get(visit.step.id)
    if before is None or _substance(before) != _substance(visit):
        return True
    ids = [each.step.id for each in visit.lineage]
    moved = [about] if about in ids else [] if about else ids
    return (_is_off(before) and not _is_off(visit)) or any(
        _is_reordered(old.index[each], old, new.index[each], new) for each in moved
    )


def _substance(visit: Visit) -> tuple[object, ...]:
    """Return what a step does, how often, and inside of what it stands.

    What is around it decides whether it is executed, and how many times.
    """
    step = visit.step
    around = tuple(
        (each.step.id, each.branch, each.step.action, each.step.config, each.step.config_version)
        for each in visit.lineage
    )
    return (step.retry, step.timeout, step.if_unknown, around)


def _is_off(visit: Visit) -> bool:
    return any(each.step.disabled for each in visit.lineage)


def _is_reordered(before: Visit, old: Document, after: Visit, new: Document) -> bool:
    """Return whether a step of the same list has come before or after one of the others."""
    was, now = old.siblings(before), new.siblings(after)
    earlier, later = set(was[: before.position]), set(was[before.position + 1 :])
    return not earlier.isdisjoint(now[after.position + 1 :]) or not later.isdisjoint(
        now[: after.position]
    )
