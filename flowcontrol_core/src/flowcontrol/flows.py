"""Everything staff do to a flow except running it: from code, from a form, from a view."""

from __future__ import annotations

from flowcontrol_core.flows.config_forms import (
    StepForm,
    form_prefix,
    step_form,
    stored_config,
    trigger_form,
    why_no_form,
    zone_of,
)
from flowcontrol_core.flows.descriptions import summarize_step
from flowcontrol_core.flows.document_checks import check_document
from flowcontrol_core.flows.drafts import (
    discard_draft,
    edit_draft,
    get_document,
    open_draft,
    present_document,
    present_revision,
    present_version,
    published_version,
    restore_version,
)
from flowcontrol_core.flows.edits import (
    Edit,
    add_step,
    annotate_step,
    configure_step,
    delete_step,
    duplicate_step,
    move_step,
    offered_branches,
    places,
    set_disabled,
    set_options,
    set_policy,
    shift_step,
    step_label,
)
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.flows.flow_triggers import (
    associate_trigger,
    change_trigger,
    check_association,
    check_associations,
    remove_trigger,
)
from flowcontrol_core.flows.imports import ImportResult, import_flows
from flowcontrol_core.flows.lifecycle import (
    activate,
    change_flow,
    create_flow,
    deactivate,
    pause,
)
from flowcontrol_core.flows.permissions import may_place
from flowcontrol_core.flows.publication import (
    diff_with_published,
    is_unchanged,
    present_problems,
    publish,
)
from flowcontrol_core.runs.operations.interventions import resume_flow as resume

__all__ = [
    "Edit",
    "ImportResult",
    "StepForm",
    "activate",
    "add_step",
    "annotate_step",
    "associate_trigger",
    "change_flow",
    "change_trigger",
    "check_association",
    "check_associations",
    "check_document",
    "configure_step",
    "create_flow",
    "deactivate",
    "delete_step",
    "diff_with_published",
    "discard_draft",
    "duplicate_step",
    "edit_draft",
    "export_flows",
    "form_prefix",
    "get_document",
    "import_flows",
    "is_unchanged",
    "may_place",
    "move_step",
    "offered_branches",
    "open_draft",
    "pause",
    "places",
    "present_document",
    "present_problems",
    "present_revision",
    "present_version",
    "publish",
    "published_version",
    "remove_trigger",
    "restore_version",
    "resume",
    "set_disabled",
    "set_options",
    "set_policy",
    "shift_step",
    "step_form",
    "step_label",
    "stored_config",
    "summarize_step",
    "trigger_form",
    "why_no_form",
    "zone_of",
]
