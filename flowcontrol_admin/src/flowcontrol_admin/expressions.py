"""The check of an expression while it is typed, and its completions: JSON for a script.

Without the script, an expression is checked when its form is saved.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.db.models import Model
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.text import capfirst
from django.utils.translation import gettext

from flowcontrol import flows
from flowcontrol.clock import clock
from flowcontrol.flows import CheckedText, Completion, Finding, TextKind, bounds
from flowcontrol.models import Flow
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_admin.pages import Page
from flowcontrol_core.document.tree import Document
from flowcontrol_core.flows.document_checks import find_model


class CheckForm(forms.Form):
    """A text as it is typed, and perhaps the object for which its value is wanted."""

    kind = forms.ChoiceField(choices=[(kind.value, kind.value) for kind in TextKind])
    # A text that is a little too long is told so by the check itself.
    text = forms.CharField(max_length=2 * bounds.TEMPLATE_CHARACTERS, required=False, strip=False)
    object = forms.CharField(max_length=bounds.NAME_CHARACTERS, required=False)


class Subject(NamedTuple):
    """The object for which a value is shown, and the key of another one."""

    obj: Model
    another: str


def help_with(page: Page, flow: Flow, step_id: str) -> HttpResponse:
    """Answer what may be typed into the fields of a step, or check one text of it."""
    document = flows.get_document(flows.present_version(flow))
    if document.find(step_id) is None:
        raise Http404(gettext("The flow has no such step."))
    if not page.is_post:
        return JsonResponse(_completions(flows.complete(document, step_id, flow=flow)))
    form = CheckForm(page.data)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    sent = form.cleaned_data
    checked = flows.check_text(document, sent["text"], TextKind(sent["kind"]), flow=flow)
    return JsonResponse(
        {
            "problems": [_finding(each) for each in checked.problems],
            "warnings": [_finding(each) for each in checked.warnings],
            **_value(page.objects, document, checked, sent["object"]),
        }
    )


def _finding(found: Finding) -> dict[str, Any]:
    use = gettext("Use “%(name)s”") % {"name": found.suggestion} if found.suggestion else ""
    return {
        "message": found.message,
        "position": found.position,
        "length": found.length,
        "suggestion": found.suggestion,
        "use": use,
    }


def _value(
    rights: ObjectRights, document: Document, checked: CheckedText, key: str
) -> dict[str, Any]:
    """Return the value for an object, where it can be known and shown; otherwise why not."""
    if checked.problems or checked.warnings or checked.compiled is None:
        return {}
    subject: Subject | None = None
    if names := checked.unknown_before_a_run:
        text = gettext("Its value is known in a run only: it depends on %(names)s.")
        return {"note": text % {"names": ", ".join(names)}}
    if checked.reads_object:
        model = find_model(document.object or "")
        if model is None:
            return {"note": gettext("The flow has no object, so no value is shown.")}
        subject = _subject(rights, model, key)
        if note := _why_not_shown(rights, model, checked, subject):
            return {"note": note}
    return _shown(document, checked, subject)


def _subject(rights: ObjectRights, model: type[Model], key: str) -> Subject | None:
    """Return the object of a key, or the newest one; only one that the user may view."""
    obj = rights.find(model, key) if key else rights.newest(model)
    if obj is None:
        return None
    other = rights.newest(model, before=obj) or rights.newest(model)
    return Subject(obj, str(other.pk) if other is not None and other != obj else "")


def _why_not_shown(
    rights: ObjectRights, model: type[Model], checked: CheckedText, subject: Subject | None
) -> str:
    if subject is None:
        text = gettext("You may view no %(model)s for which a value could be shown.")
        return text % {"model": model._meta.verbose_name}
    hidden = [
        each
        for each in flows.models_read(checked, model)
        if each is not model and not rights.may_view_every(each)
    ]
    if not hidden:
        return ""
    text = gettext(
        "No value is shown: it may depend on objects that you may not view (%(models)s)."
    )
    names = sorted(str(capfirst(str(each._meta.verbose_name_plural))) for each in hidden)
    return text % {"models": ", ".join(names)}


def _shown(document: Document, checked: CheckedText, subject: Subject | None) -> dict[str, Any]:
    obj = subject.obj if subject else None
    sample = flows.evaluate_sample(document, checked, obj, clock().now())
    if sample.failure is not None:
        return {"failure": _finding(sample.failure)}
    if subject is None:
        return {"note": gettext("The value is"), "value": sample.value}
    return {
        "note": gettext("For “%(object)s” this is") % {"object": sample.about},
        "value": sample.value,
        "another": {"key": subject.another, "label": gettext("Try another")},
    }


def _completions(found: list[Completion]) -> dict[str, Any]:
    return {
        "completions": [
            {
                "kind": each.kind,
                "text": each.text,
                "detail": each.reason or each.detail,
                "usable": not each.reason,
                "html": each.html_only,
            }
            for each in found
        ]
    }
