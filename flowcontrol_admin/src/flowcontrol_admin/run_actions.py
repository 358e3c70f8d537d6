"""The verbs of an operator, each behind a page that asks for the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from flowcontrol_admin.pages import Page, url
from flowcontrol_admin.run_forms import RestartForm, RunForm, SendForm, StateForm
from flowcontrol_core.errors import FlowcontrolError
from flowcontrol_core.models import FlowRun, Status
from flowcontrol_core.runs.operations import control, restarts


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb as it is offered: ``name`` is that of the table of legal changes."""

    slug: str
    name: str
    label: str | Promise
    question: str | Promise
    effect: str | Promise
    done: str | Promise
    call: Callable[..., FlowRun]
    is_grave: bool = False
    form: type[RunForm] = RunForm


VERBS = {
    verb.slug: verb
    for verb in (
        Verb(
            slug="run-now",
            name="run now",
            label=_("Run now"),
            question=_("Let this run go on at once?"),
            effect=_("Whatever it waits for is no longer waited for."),
            done=_("The run is due now; a worker takes it up."),
            call=control.run_now,
        ),
        Verb(
            slug="retry",
            name="retry",
            label=_("Retry the step"),
            question=_("Try the step again?"),
            effect=_("It is called as if it had never been tried."),
            done=_("The step is tried again as soon as a worker takes the run up."),
            call=control.retry_flowrun,
        ),
        Verb(
            slug="skip",
            name="skip",
            label=_("Skip the step"),
            question=_("Skip the step?"),
            effect=_("The run goes on behind it; what the step was to do is not done."),
            done=_("The step is skipped; a worker takes the run up behind it."),
            call=control.skip_step,
        ),
        Verb(
            slug="send",
            name="send",
            label=_("Send to a step"),
            question=_("Send this run to another step?"),
            effect=_("It goes on there, at its next checkpoint."),
            done=_("The run goes to that step at its next checkpoint."),
            call=control.go_to_step,
            form=SendForm,
        ),
        Verb(
            slug="restart",
            name="restart",
            label=_("Restart from a step"),
            question=_("Start a new run at a step of this one?"),
            effect=_("It has the state and the object of this run, which stays as it is."),
            done=_("This is the new run; a worker takes it up."),
            call=restarts.restart_at_step,
            form=RestartForm,
        ),
        Verb(
            slug="edit-state",
            name="edit state",
            label=_("Edit the state"),
            question=_("Replace the state of this run?"),
            effect=_("The run goes on with what you write here."),
            done=_("The state was replaced."),
            call=restarts.edit_state,
            form=StateForm,
        ),
        Verb(
            slug="move",
            name="move",
            label=_("Move to the published version"),
            question=_("Move this run to the published version of its flow?"),
            effect=_("It goes on there, at the step that it is at."),
            done=_("The run is on the published version now."),
            call=restarts.move_to_current_version,
        ),
        Verb(
            slug="pause",
            name="pause",
            label=_("Pause"),
            question=_("Pause this run?"),
            effect=_("It does not go on until somebody resumes it."),
            done=_("The run is paused."),
            call=control.pause_flowrun,
        ),
        Verb(
            slug="resume",
            name="resume",
            label=_("Resume"),
            question=_("Resume this run?"),
            effect=_("It goes on, or waits on for what it was waiting for."),
            done=_("The run goes on."),
            call=control.resume_flowrun,
        ),
        Verb(
            slug="cancel",
            name="cancel",
            label=_("Cancel"),
            question=_("Cancel this run?"),
            effect=_("It ends, and the runs that it has started with it. There is no way back."),
            done=_("The run is canceled."),
            call=control.cancel_flowrun,
            is_grave=True,
        ),
    )
}


def legal_verbs(run: FlowRun) -> list[Verb]:
    """Give the verbs that are possible for a run as it stands."""
    return [verb for verb in VERBS.values() if is_possible(verb, run)]


def is_possible(verb: Verb, run: FlowRun) -> bool:
    """Say whether a verb is possible; none is that needs a cursor which cannot be read."""
    if verb.slug == "move" and run.flow.published_id in (None, run.version_id):
        return False
    try:
        return control.is_legal(verb.name, run)
    except (AttributeError, IndexError, KeyError, TypeError):
        return False


def operate(page: Page, run: FlowRun, verb: str) -> HttpResponse:
    """Ask for the reason, and do it; what is not possible says why."""
    chosen = VERBS.get(verb)
    if chosen is None:
        raise Http404(say("There is no such verb."))
    form = _form(page, run, chosen)
    refused = "" if is_possible(chosen, run) else _refusal(chosen, run)
    if page.is_post and form.is_valid():
        try:
            after = chosen.call(run, **form.arguments(), by=page.user)
        except FlowcontrolError as error:
            refused = str(error)
        else:
            page.say(_said(chosen, after))
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


def _form(page: Page, run: FlowRun, verb: Verb) -> RunForm:
    return verb.form(page.request.POST if page.is_post else None, run=run)


def _refusal(verb: Verb, run: FlowRun) -> str:
    if verb.slug == "move" and run.flow.published_id == run.version_id:
        return say("The run is on the published version already.")
    status = run.get_outcome_display() or run.get_status_display()
    return say("This is not possible while the run is %(status)s.") % {"status": status}


def _said(verb: Verb, run: FlowRun) -> str:
    if run.status == Status.RUNNING and verb.slug in ("cancel", "pause"):
        return say("The worker that executes the run was asked; it does so at its next checkpoint.")
    return str(verb.done)
