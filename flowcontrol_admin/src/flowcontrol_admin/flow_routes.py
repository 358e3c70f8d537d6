"""The pages of one flow, and which permission each asks for."""

from __future__ import annotations

from flowcontrol_admin import editor, health, portable, publication, start, steps, triggers
from flowcontrol_admin.pages import (
    ACTIVATE_FLOW,
    ADD_FLOW,
    CHANGE_FLOW,
    PUBLISH_FLOW,
    READING,
    START_FLOW,
    VIEW_FLOW,
    Route,
    View,
)

ANY = (*READING, "POST")
POST = ("POST",)
_STEP = "<int:pk>/steps/<slug:step_id>/"
_TRIGGER = "<int:pk>/triggers/<int:trigger_id>/"


def _edit(path: str, name: str, view: View, methods: tuple[str, ...] = ANY) -> Route:
    return Route(path=path, name=name, view=view, needs=(VIEW_FLOW, CHANGE_FLOW), methods=methods)


def _switch(path: str, view: View) -> Route:
    return Route(
        path=f"<int:pk>/{path}/",
        name=f"flow_{path}",
        view=view,
        needs=(VIEW_FLOW, ACTIVATE_FLOW),
        methods=POST,
    )


ROUTES = [
    Route(path="plugins/", name="flow_plugins", view=portable.show_plugins, needs=(VIEW_FLOW,)),
    Route(path="health/", name="flow_health", view=health.show_health, needs=(VIEW_FLOW,)),
    Route(
        path="health.json",
        name="flow_health_json",
        view=health.show_health_json,
        needs=(VIEW_FLOW,),
    ),
    Route(
        path="import/",
        name="flow_import",
        view=portable.show_import,
        needs=(VIEW_FLOW, ADD_FLOW, CHANGE_FLOW),
        methods=ANY,
    ),
    Route(path="export/", name="flow_export_all", view=portable.export_all, needs=(VIEW_FLOW,)),
    Route(path="<int:pk>/export/", name="flow_export", view=portable.export, needs=(VIEW_FLOW,)),
    Route(path="<int:pk>/", name="flow_editor", view=editor.show_editor, needs=(VIEW_FLOW,)),
    _edit("<int:pk>/add-step/", "flow_step_add", steps.pick),
    _edit(f"{_STEP}configure/", "flow_step_configure", steps.configure),
    _edit(f"{_STEP}move/", "flow_step_move", steps.move),
    _edit(f"{_STEP}note/", "flow_step_note", steps.note),
    _edit(f"{_STEP}policy/", "flow_step_policy", steps.policy),
    _edit(f"{_STEP}delete/", "flow_step_delete", steps.delete),
    _edit(f"{_STEP}duplicate/", "flow_step_duplicate", steps.duplicate, POST),
    _edit(f"{_STEP}shift/", "flow_step_shift", steps.shift, POST),
    _edit(f"{_STEP}disable/", "flow_step_disable", steps.disable, POST),
    Route(
        path="<int:pk>/publish/",
        name="flow_publish",
        view=publication.publish,
        needs=(VIEW_FLOW,),
        writes=(PUBLISH_FLOW,),
        methods=ANY,
    ),
    _switch("activate", publication.activate),
    _switch("deactivate", publication.deactivate),
    _switch("pause", publication.pause),
    _switch("resume", publication.resume),
    Route(
        path="<int:pk>/versions/",
        name="flow_versions",
        view=publication.show_versions,
        needs=(VIEW_FLOW,),
    ),
    Route(
        path="<int:pk>/versions/<int:number>/",
        name="flow_version",
        view=publication.show_version,
        needs=(VIEW_FLOW,),
    ),
    _edit("<int:pk>/versions/<int:number>/restore/", "flow_restore", publication.restore, POST),
    _edit("<int:pk>/discard/", "flow_discard", publication.discard),
    _edit("<int:pk>/triggers/add/", "flow_trigger_pick", triggers.pick, READING),
    _edit("<int:pk>/triggers/add/<str:key>/", "flow_trigger_add", triggers.add),
    Route(
        path=_TRIGGER,
        name="flow_trigger",
        view=triggers.change,
        needs=(VIEW_FLOW,),
        writes=(CHANGE_FLOW,),
        methods=ANY,
    ),
    _edit(f"{_TRIGGER}toggle/", "flow_trigger_toggle", triggers.toggle, POST),
    _edit(f"{_TRIGGER}delete/", "flow_trigger_delete", triggers.delete),
    Route(
        path="<int:pk>/start/",
        name="flow_start",
        view=start.start,
        needs=(VIEW_FLOW, START_FLOW),
        methods=ANY,
    ),
]
