"""The pages of Flowcontrol in the Django admin: the editor, the runs and health."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcontrol_admin.mixins import FlowAdminMixin

__all__ = ["FlowAdminMixin"]


def __getattr__(name: str) -> Any:
    """Return what needs models, which can be imported only after this package."""
    if name in __all__:
        return getattr(import_module("flowcontrol_admin.mixins"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
