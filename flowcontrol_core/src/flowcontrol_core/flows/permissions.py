"""Which actions an author may place: an action class can ask for a permission."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser

from flowcontrol_core.actions.registry import registry
from flowcontrol_core.document.tree import Document, Step
from flowcontrol_core.errors import EditError


def refuse_forbidden(old: Document, new: Document, author: AbstractBaseUser | None) -> None:
    """Raise EditError where the author adds or configures a step without being allowed to.

    Code that names no author may place everything.
    """
    if author is None:
        return
    before = {visit.step.id: visit.step for visit in old.walk()}
    for visit in new.walk():
        permission = _permission(visit.step)
        if permission and _is_touched(before.get(visit.step.id), visit.step):
            _refuse_without(author, permission, visit.step)


def may_place(action_key: str, author: AbstractBaseUser | None) -> bool:
    """Say whether an author may place an action; to be asked before it is offered."""
    permission = _permission(Step(id="", action=action_key))
    return author is None or not permission or _has(author, permission)


def _permission(step: Step) -> str:
    if not registry.knows_action(step.action):
        return ""
    return registry.get_action(step.action).action.permission


def _is_touched(old: Step | None, new: Step) -> bool:
    return old is None or (old.action, old.config) != (new.action, new.config)


def _refuse_without(author: AbstractBaseUser, permission: str, step: Step) -> None:
    if not _has(author, permission):
        raise EditError(
            f"You need the permission {permission!r} to place or configure a step with the "
            f"action {step.action!r}; ask somebody who has it."
        )


def _has(author: AbstractBaseUser, permission: str) -> bool:
    # A user model of a project's own need not have permissions: then it has none.
    has_perm = getattr(author, "has_perm", None)
    return bool(has_perm and has_perm(permission))
