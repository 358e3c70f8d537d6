"""The journal of a flow: who changed its draft, when and how, and what it takes to undo that."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import bounds
from flowcontrol_core.models.columns import (
    JsonField,
    KeyField,
    ShortTextField,
    UtcDateTimeField,
)
from flowcontrol_core.models.flow import Flow


class EditOperation(models.TextChoices):
    """What an edit does to the draft of a flow."""

    ADD = "add", _("Add a step")
    CONFIGURE = "configure", _("Configure a step")
    MOVE = "move", _("Move a step")
    MOVE_UP = "move_up", _("Move a step up")
    MOVE_DOWN = "move_down", _("Move a step down")
    DUPLICATE = "duplicate", _("Duplicate a step")
    DISABLE = "disable", _("Disable a step")
    ENABLE = "enable", _("Enable a step")
    ANNOTATE = "annotate", _("Annotate a step")
    REMOVE_NOTE = "remove_note", _("Remove a note")
    POLICY = "policy", _("Change what happens when a step fails")
    DELETE = "delete", _("Delete a step")
    OPTIONS = "options", _("Change the settings of the flow")
    CODE = "code", _("Change by code")
    RESTORE = "restore", _("Restore an older version")
    IMPORT = "import", _("Import")
    DISCARD = "discard", _("Discard the draft")
    UNDO = "undo", _("Undo")
    REDO = "redo", _("Redo")


class FlowEdit(models.Model):
    """One edit of the draft of a flow; the newest ``bounds.EDITS`` of a flow are kept."""

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="edits"
    )
    #: The number of the version that the draft becomes when it is published.
    number = models.PositiveIntegerField(_("version"))
    #: The revision of the draft after it; no two edits of a flow have the same.
    revision = models.PositiveIntegerField(_("revision"))
    operation = models.CharField(_("operation"), max_length=20, choices=EditOperation.choices)
    #: The id of the step it was about; empty where it was about the whole flow.
    step = KeyField(_("step"), max_length=32, blank=True, default="")
    #: What its sentence tells, such as ``{"action": "builtin.if", "count": 3}``.
    values = JsonField(default=dict)
    #: The revision of the edit that it undoes or redoes.
    target = models.PositiveIntegerField(null=True)
    #: What it changed (``document.patch``), as it was and as it is since; empty where that is not
    #: known, so that it cannot be undone.
    before = JsonField(default=dict)
    after = JsonField(default=dict)
    undoable = models.BooleanField(default=True)
    #: A name, not a reference: the users may be in another database.
    author = ShortTextField(_("author"), max_length=bounds.ACTOR_CHARACTERS, blank=True)
    at = UtcDateTimeField(_("at"))

    class Meta:
        verbose_name = _("edit of a flow")
        verbose_name_plural = _("edits of flows")
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(fields=["flow", "revision"], name="flowcontrol_edit_revision")
        ]

    def __str__(self) -> str:
        return f"{self.flow_id} r{self.revision}: {self.operation}"
