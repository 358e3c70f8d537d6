"""The operator actions, each as a page that asks for the reason."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.utils.translation import gettext

from flowcontrol import runs
from flowcontrol.errors import FlowcontrolError
from flowcontrol.models import FlowRun, Status
from flowcontrol.runs import OPERATOR_ACTIONS, OperatorAction
from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.run_forms import RestartForm, RunForm, SendForm, StateForm

BY_SLUG = {action.slug: action for action in OPERATOR_ACTIONS.values()}
_FORMS: dict[str, type[RunForm]] = {
    "go_to_step": SendForm,
    "restart": RestartForm,
    "edit_state": StateForm,
}


def legal_actions(run: FlowRun) -> list[OperatorAction]:
    """Return the actions that are possible for a run as it stands."""
    return [action for action in BY_SLUG.values() if not refusal(action, run)]


def refusal(action: OperatorAction, run: FlowRun) -> str:
    """Return why an action is not possible; none is that needs a cursor which cannot be read."""
    return str(action.refusal(run))


def operate(page: Page, run: FlowRun, verb: str) -> HttpResponse:
    """Ask for the reason, and do it; what is not possible says why."""
    chosen = BY_SLUG.get(verb)
    if chosen is None:
        raise Http404(gettext("There is no such operator action."))
    form_class = _FORMS.get(chosen.name, RunForm)
    form = form_class(page.request.POST if page.is_post else None, run=run)
    refused = _refused(chosen, run)
    if page.is_post and form.is_valid():
        try:
            after = getattr(runs, chosen.name)(run, **form.arguments(), by=page.user)
        except FlowcontrolError as error:
            refused = str(error)
        else:
            page.say(_said(chosen, run))
            return page.redirect("flowrun_change", after.pk)
    return page.render(
        "operate.html",
        status=409 if refused else 200,
        title=chosen.label,
        run=run,
        verb=chosen,
        form=form,
        refused=refused,
        crumbs=[(str(chosen.label), "")],
        back=url("flowrun_change", run.pk),
    )


def _refused(action: OperatorAction, run: FlowRun) -> str:
    why = refusal(action, run)
    return gettext("This is not possible: %(why)s.") % {"why": why} if why else ""


def _said(action: OperatorAction, run: FlowRun) -> str:
    if run.status == Status.RUNNING and action.name in ("cancel", "pause"):
        return gettext(
            "The worker that executes the run was asked; it does so at its next checkpoint."
        )
    return str(action.success)
