"""Export and import of flows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.errors import DocumentError, FlowcontrolError, NotPermittedError, Problem
from flowcontrol.flows import ImportResult, bounds, export_flows, import_flows
from flowcontrol.models import Flow
from flowcontrol_admin.pages import Page


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
    activate = forms.BooleanField(label=_("Activate the imported flows"), required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        file, text = cleaned.get("file"), cleaned.get("text")
        if bool(file) == bool(text):
            raise forms.ValidationError(_("Choose a file or paste its text, but not both."))
        # One more byte tells that it is too large.
        cleaned["yaml"] = file.read(bounds.FILE_BYTES + 1) if file else text
        return cleaned


def show_import(page: Page) -> HttpResponse:
    """Import flows into drafts, and show what is left to do."""
    form = ImportForm(page.data, page.request.FILES or None)
    results: list[ImportResult] = []
    problems: tuple[Problem, ...] = ()
    if page.is_post and form.is_valid():
        try:
            results = _import(page, form.cleaned_data)
        except DocumentError as error:
            problems = error.problems
            form.add_error(None, gettext("Nothing was imported; see the problems below."))
        except NotPermittedError:
            raise
        except FlowcontrolError as error:
            form.add_error(None, str(error))
    return page.render(
        "import.html",
        title=gettext("Import flows"),
        crumb=gettext("Import"),
        form=form,
        submit=gettext("Import"),
        results=results,
        problems=problems,
    )


def _import(page: Page, cleaned: dict[str, Any]) -> list[ImportResult]:
    options = {name: cleaned[name] for name in ("publish", "activate")}
    results = import_flows(cleaned["yaml"], author=page.user, **options)
    text = ngettext("Imported %(count)d flow.", "Imported %(count)d flows.", len(results))
    if results:
        page.notify(text % {"count": len(results)})
    return results


def export(page: Page, flow: Flow) -> HttpResponse:
    """Download one flow as YAML; with ``?draft=1`` its draft."""
    drafts = page.request.GET.get("draft") == "1"
    return _download(export_flows([flow], drafts=drafts), f"{flow.key}.yaml")


def export_all(_page: Page) -> HttpResponse:
    """Download all flows as YAML."""
    return _download(export_flows(Flow.objects.order_by("key")), "flows.yaml")


def _download(text: str, name: str) -> HttpResponse:
    return HttpResponse(
        text,
        content_type="application/yaml; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )
