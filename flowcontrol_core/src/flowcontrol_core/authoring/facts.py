"""What a published version says about itself in columns, so that nobody has to read it for that."""

from __future__ import annotations

from flowcontrol_core.definition import Document
from flowcontrol_core.plugins.binding import compile_flow


def version_facts(document: Document) -> dict[str, str]:
    """Give the columns of a version that can be derived from its valid document."""
    compiled = compile_flow(document)
    steps = [compiled.bound(step_id) for step_id in compiled.program.nodes]
    waited = {key for bound in steps for key in bound.action.waits_for(bound.config) if key}
    return {"object_type": document.object or "", "waits_for": "\n".join(sorted(waited))}
