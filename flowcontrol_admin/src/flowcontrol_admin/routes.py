"""The addresses of all pages, and which permissions each asks for."""

from __future__ import annotations

from dataclasses import replace

from flowcontrol_admin import (
    bulk_page,
    clipboard,
    dry_run,
    editor,
    expressions,
    flow_diagram,
    flow_settings,
    health,
    operator_actions,
    publication,
    run_page,
    start,
    steps,
    transfer,
    triggers,
    undo,
)
from flowcontrol_admin.pages import (
    ACTIVATE_FLOW,
    ADD_FLOW,
    CHANGE_FLOW,
    DELETE_FLOW,
    POST,
    PUBLISH_FLOW,
    READ,
    READ_AND_POST,
    START_FLOW,
    VIEW_FLOW,
    VIEW_RUN,
    Route,
    View,
    show_list,
)

_FLOW = "<int:pk>/"
_STEP = f"{_FLOW}steps/<slug:step_id>/"
_TRIGGER = f"{_FLOW}triggers/<int:trigger_id>/"
_VERSION = f"{_FLOW}versions/<int:number>/"


def _page(address: str, name: str, view: View, *needs: str, post: bool = False) -> Route:
    """Return a page for those who may view flows and have the other permissions."""
    methods = READ_AND_POST if post else READ
    return Route(address, f"flow_{name}", view, (VIEW_FLOW, *needs), methods=methods)


def _form(address: str, name: str, view: View, writes: str) -> Route:
    """Return a page that all who may view flows see, and that some may also post."""
    return Route(address, f"flow_{name}", view, (VIEW_FLOW,), (writes,), READ_AND_POST)


def _edit(address: str, name: str, view: View) -> Route:
    """Return a page for those who may change flows."""
    return _page(address, name, view, CHANGE_FLOW, post=True)


def _typed(route: Route) -> Route:
    """Return a page with a form that a login does not empty."""
    return replace(route, shows_again=True)


def _step_form(name: str, view: View) -> Route:
    """Return the page of an edit of a step."""
    return _typed(_edit(f"{_STEP}{name}/", f"step_{name}", view))


def _button(address: str, name: str, view: View, needs: str = CHANGE_FLOW) -> Route:
    """Return what a button posts to."""
    return Route(address, f"flow_{name}", view, (VIEW_FLOW, needs), methods=POST)


FLOW_ROUTES = [
    _page("", "changelist", show_list),
    _typed(Route("add/", "flow_add", flow_settings.add_flow, (ADD_FLOW,), methods=READ_AND_POST)),
    _page("plugins/", "plugins", health.show_plugins),
    _page("health/", "health", health.show_health),
    Route(
        "health.json",
        "flow_health_json",
        health.show_health_json,
        (VIEW_FLOW,),
        lets_in=health.has_token,
    ),
    _page("import/", "import", transfer.show_import, ADD_FLOW, CHANGE_FLOW, post=True),
    _page("export/", "export_all", transfer.export_all),
    _page(_FLOW, "editor", editor.show_editor),
    _page(f"{_FLOW}export/", "export", transfer.export),
    _typed(_form(f"{_FLOW}change/", "change", flow_settings.change_flow, CHANGE_FLOW)),
    _page(f"{_FLOW}delete/", "delete", flow_settings.delete, DELETE_FLOW, post=True),
    _page(f"{_FLOW}history/", "history", publication.show_history),
    _form(f"{_FLOW}publish/", "publish", publication.publish, PUBLISH_FLOW),
    _button(f"{_FLOW}activate/", "activate", publication.activate, ACTIVATE_FLOW),
    _button(f"{_FLOW}deactivate/", "deactivate", publication.deactivate, ACTIVATE_FLOW),
    _button(f"{_FLOW}pause/", "pause", publication.pause, ACTIVATE_FLOW),
    _button(f"{_FLOW}resume/", "resume", publication.resume, ACTIVATE_FLOW),
    _edit(f"{_FLOW}discard/", "discard", publication.discard),
    _page(f"{_FLOW}diagram/", "diagram", flow_diagram.show_diagram),
    _button(f"{_FLOW}undo/", "undo", undo.undo),
    _button(f"{_FLOW}redo/", "redo", undo.redo),
    _page(f"{_FLOW}versions/", "versions", publication.show_versions),
    _page(_VERSION, "version", publication.show_version),
    _button(f"{_VERSION}restore/", "restore", publication.restore),
    _edit(f"{_FLOW}add-step/", "step_add", steps.pick),
    _edit(f"{_FLOW}paste/", "paste", clipboard.paste),
    _page(f"{_STEP}copy/", "step_copy", clipboard.copy),
    _button(f"{_FLOW}duplicate/", "duplicate", clipboard.duplicate, ADD_FLOW),
    _step_form("configure", steps.configure),
    _page(f"{_STEP}expression/", "expression", expressions.help_with, post=True),
    _button(f"{_STEP}cancel/", "step_cancel", steps.cancel),
    *(
        _step_form(edit.name, edit)
        if edit.title
        else _button(f"{_STEP}{edit.name}/", f"step_{edit.name}", edit)
        for edit in steps.STEP_EDITS
    ),
    _page(f"{_FLOW}triggers/add/", "trigger_pick", triggers.pick, CHANGE_FLOW),
    _typed(_edit(f"{_FLOW}triggers/add/<str:key>/", "trigger_add", triggers.add)),
    _typed(_form(_TRIGGER, "trigger", triggers.change, CHANGE_FLOW)),
    _button(f"{_TRIGGER}toggle/", "trigger_toggle", triggers.toggle),
    _edit(f"{_TRIGGER}delete/", "trigger_delete", triggers.delete),
    _typed(_page(f"{_FLOW}start/", "start", start.start, START_FLOW, post=True)),
    _page(f"{_FLOW}start/objects/", "start_objects", start.find_objects, START_FLOW),
    _typed(_button(f"{_FLOW}dry-run/", "dry_run", dry_run.dry_run, START_FLOW)),
]
RUN_ROUTES = [
    # The actions of the list ask for their own permission.
    Route("", "flowrun_changelist", show_list, (VIEW_RUN,), methods=READ_AND_POST),
    Route("<int:pk>/change/", "flowrun_change", run_page.show_run, (VIEW_RUN,)),
    Route("<int:pk>/diagram/", "flowrun_diagram", run_page.show_diagram, (VIEW_RUN,)),
    Route("operations/<int:number>/", "flowrun_operation", bulk_page.show_operation, (VIEW_RUN,)),
    # What is done, an operator action or a start, has its own permission.
    Route(
        "operations/<int:number>/stop/",
        "flowrun_operation_stop",
        bulk_page.stop_operation,
        (VIEW_RUN,),
        methods=POST,
    ),
    # Each operator action declares its own permission.
    Route(
        "<int:pk>/<slug:slug>/",
        "flowrun_operate",
        operator_actions.operate,
        (VIEW_RUN,),
        methods=READ_AND_POST,
    ),
]
