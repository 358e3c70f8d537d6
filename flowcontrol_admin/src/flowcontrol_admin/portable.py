"""Export and import of flows, and the page about plugins."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from flowcontrol.flows import bounds
from flowcontrol_admin.flow_forms import add_problems
from flowcontrol_admin.pages import ACTIVATE_FLOW, CHANGE_FLOW, PUBLISH_FLOW, Page, url
from flowcontrol_core.actions.registry import registry
from flowcontrol_core.errors import DocumentError, FlowcontrolError, Problem
from flowcontrol_core.flows.exports import export_flows
from flowcontrol_core.flows.imports import import_flows
from flowcontrol_core.models import Flow
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginStatus

_STATUSES = {
    PluginStatus.ACTIVE: _("active"),
    PluginStatus.DISABLED: _("disabled"),
    PluginStatus.INCOMPATIBLE: _("incompatible"),
    PluginStatus.CONFLICT: _("conflict"),
    PluginStatus.FAILED: _("failed"),
    PluginStatus.NEEDS_APP: _("needs an app"),
}


class ImportForm(forms.Form):
    """YAML, as a file or as text."""

    file = forms.FileField(label=_("File"), required=False)
    text = forms.CharField(
        label=_("Or text"),
        required=False,
        max_length=bounds.FILE_BYTES,
        widget=forms.Textarea(attrs={"rows": 16, "cols": 80, "spellcheck": "false"}),
    )
    publish = forms.BooleanField(label=_("Publish the imported flows"), required=False)
    activate = forms.BooleanField(label=_("Activate them"), required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        file, text = cleaned.get("file"), cleaned.get("text")
        if bool(file) == bool(text):
            raise forms.ValidationError(_("Choose a file, or paste its text; one of both."))
        cleaned["yaml"] = _read(file) if file else text
        return cleaned


def _read(file: Any) -> str:
    if file.size > bounds.FILE_BYTES:
        text = _("The file is larger than %(size)d KiB; import it in parts.")
        raise forms.ValidationError(text, params={"size": bounds.FILE_BYTES // 1024})
    try:
        content: str = file.read().decode()
    except UnicodeDecodeError as error:
        raise forms.ValidationError(_("The file is no text in UTF-8.")) from error
    return content


def show_import(page: Page) -> HttpResponse:
    """Import flows into drafts; the result says what is left to do."""
    form = ImportForm(page.request.POST or None, page.request.FILES or None)
    results, problems = [], list[Problem]()
    if page.is_post and form.is_valid():
        _refuse_forbidden(page, form)
        try:
            results = import_flows(
                form.cleaned_data["yaml"],
                author=page.user,
                publish=form.cleaned_data["publish"],
                activate=form.cleaned_data["activate"],
            )
        except DocumentError as error:
            problems = list(error.problems)
            add_problems(form, [Problem("", say("Nothing was imported; see the problems below."))])
        except FlowcontrolError as error:
            form.add_error(None, str(error))
    if results:
        text = ngettext("Imported %(count)d flow.", "Imported %(count)d flows.", len(results))
        messages.success(page.request, text % {"count": len(results)})
    return page.render(
        "import.html",
        title=say("Import flows"),
        form=form,
        results=results,
        problems=problems,
        crumbs=[(say("Import"), "")],
        back=url("flow_changelist"),
    )


def _refuse_forbidden(page: Page, form: ImportForm) -> None:
    """An import may publish and activate; each asks for its own permission, as elsewhere."""
    wanted = [CHANGE_FLOW]
    wanted += [PUBLISH_FLOW] if form.cleaned_data["publish"] else []
    wanted += [ACTIVATE_FLOW] if form.cleaned_data["activate"] else []
    if not all(page.may(permission) for permission in wanted):
        raise PermissionDenied


def export(page: Page, flow: Flow) -> HttpResponse:
    """Download one flow as YAML; with ``?draft=1`` as it is being edited."""
    drafts = page.request.GET.get("draft") == "1"
    return _download(export_flows([flow], drafts=drafts), f"{flow.key}.yaml")


def export_all(_page: Page) -> HttpResponse:
    """Download all flows as YAML."""
    return _download(export_flows(Flow.objects.order_by("key")), "flows.yaml")


def _download(text: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def show_plugins(page: Page) -> HttpResponse:
    """All plugins, what became of them, and what to do."""
    own = [entry for entry in registry.actions.values() if not _is_of_plugin(entry.plugin)]
    triggers = [entry for entry in registry.triggers.values() if not _is_of_plugin(entry.plugin)]
    return page.render(
        "plugins.html",
        title=say("Plugins"),
        reports=[(report, _STATUSES[report.status]) for report in plugin_manager.reports],
        own_actions=sorted(entry.key for entry in own),
        own_triggers=sorted(entry.key for entry in triggers),
        crumbs=[(say("Plugins"), "")],
    )


def _is_of_plugin(name: str) -> bool:
    return any(report.name == name for report in plugin_manager.reports)
