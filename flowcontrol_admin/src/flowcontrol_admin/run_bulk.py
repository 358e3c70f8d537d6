"""What is done to many chosen runs: a page that asks why, then the verb, or a job for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from flowcontrol import runs as public_runs
from flowcontrol.runs import OPERATOR_ACTIONS, start_bulk_operation
from flowcontrol.runs import OperatorAction as Verb
from flowcontrol_admin.fields import JsonObjectField, choice_field
from flowcontrol_admin.pages import Page
from flowcontrol_admin.run_forms import ReasonForm, state_of, steps_of
from flowcontrol_core.errors import DocumentError, FlowcontrolError, StateError
from flowcontrol_core.flows.drafts import get_document
from flowcontrol_core.models import FlowRun, FlowVersion

MOST_REASONS = 10
#: More runs than that are left to a job; and so many one job takes: it keeps a list of them.
MOST_AT_ONCE = 100
MOST_IN_A_JOB = 10_000
#: The steps of so many versions are offered, the newest.
MOST_VERSIONS = 20
_CONFIRMED = "confirmed"

_Action = Callable[[Any, HttpRequest, QuerySet[FlowRun]], HttpResponse | None]


class ManyForm(ReasonForm):
    """Why somebody does something to many runs."""

    def __init__(self, *args: Any, runs: QuerySet[FlowRun], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs = runs


class ManyStepsForm(ManyForm):
    """Which step the runs are sent to; a run whose version has none with that id refuses."""

    step = forms.ChoiceField(label=_("Step"))
    field_order: tuple[str, ...] = ("step", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice_field(self, "step").choices = list(self._steps().items())

    def _steps(self) -> dict[str, str]:
        steps: dict[str, str] = {}
        for version in self._versions():
            try:
                found = steps_of(get_document(version))
            except DocumentError:
                continue
            for step, words in found.items():
                steps.setdefault(step, f"{version.flow.name}: {words} ({step})")
        return steps

    def _versions(self) -> QuerySet[FlowVersion]:
        ids = self.runs.order_by().values("version")
        return _newest(FlowVersion.objects.filter(pk__in=ids))


class ManyRestartsForm(ManyStepsForm):
    """Where the new runs begin, and on which version."""

    current_version = forms.BooleanField(
        label=_("Use the published versions of the flows"),
        required=False,
        help_text=_("Otherwise each new run is on the same version as its old one."),
    )
    field_order = ("step", "current_version", "reason")

    def _versions(self) -> QuerySet[FlowVersion]:
        chosen = self.runs.order_by()
        published = FlowVersion.objects.filter(pk__in=chosen.values("flow__published"))
        return _newest(FlowVersion.objects.filter(pk__in=chosen.values("version")) | published)


class ChangesForm(ManyForm):
    """Which keys of the states are set; the others stay as they are."""

    changes = JsonObjectField(
        label=_("Keys to set"),
        help_text=_(
            'A JSON object, such as {"price": 5}: these keys are set in the state of each run, '
            "the others stay as they are."
        ),
    )
    field_order = ("changes", "reason")

    def clean_changes(self) -> dict[str, Any]:
        try:
            changes = state_of(self.cleaned_data["changes"])
        except StateError as error:
            raise ValidationError(str(error)) from error
        if not changes:
            raise ValidationError(_("Name at least one key."))
        return changes


_FORMS: dict[str, type[ManyForm]] = {
    "go_to_step": ManyStepsForm,
    "restart": ManyRestartsForm,
    "edit_state": ChangesForm,
}
_LABELS = {"edit_state": _("Set keys of the state")}
_EFFECTS = {"edit_state": _("The runs go on with what you write here.")}


def bulk_actions() -> Iterator[_Action]:
    """Give the actions of the list of runs: one for each verb."""
    for verb in OPERATOR_ACTIONS.values():
        yield _action(verb)


def _action(verb: Verb) -> _Action:
    def act(admin: Any, request: HttpRequest, queryset: QuerySet[FlowRun]) -> HttpResponse | None:
        return _operate(Page(request, admin, None), queryset, verb)

    act.__name__ = f"{verb.slug.replace('-', '_')}_runs"
    return admin.action(description=_label(verb), permissions=["operate"])(act)


def _label(verb: Verb) -> Any:
    return _LABELS.get(verb.name, verb.label)


def _operate(page: Page, runs: QuerySet[FlowRun], verb: Verb) -> HttpResponse | None:
    """Ask for the reason; then do it to the chosen runs, or have a job do it."""
    count = runs.order_by().count()
    if count > MOST_IN_A_JOB:
        text = say("These are more than %(n)d runs; nothing was done. Choose fewer by filters.")
        page.say(text % {"n": MOST_IN_A_JOB}, messages.ERROR)
        return None
    confirmed = _CONFIRMED in page.request.POST
    form = _FORMS.get(verb.name, ManyForm)(page.request.POST if confirmed else None, runs=runs)
    if not confirmed or not form.is_valid():
        return _ask(page, verb, form, count)
    if count > MOST_AT_ONCE:
        _create_job(page, verb, runs, form.arguments())
    else:
        _do_at_once(page, verb, runs, form.arguments())
    return None


def _ask(page: Page, verb: Verb, form: ManyForm, count: int) -> HttpResponse:
    posted = page.request.POST
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "index")
    chosen = [(name, value) for name in names for value in posted.getlist(name)]
    return page.render(
        "operate_many.html",
        title=_label(verb),
        verb={"effect": _EFFECTS.get(verb.name, verb.effect), "is_grave": verb.is_grave},
        label=_label(verb),
        count=count,
        chosen=[*chosen, (_CONFIRMED, "1")],
        form=form,
        crumbs=[(str(_label(verb)), "")],
        back=page.request.get_full_path(),
    )


def _create_job(page: Page, verb: Verb, runs: QuerySet[FlowRun], arguments: dict[str, Any]) -> None:
    """Leave what would take too long to the sweeps."""
    ids = list(runs.order_by("pk").values_list("pk", flat=True)[:MOST_IN_A_JOB])
    reason = arguments.pop("reason", "")
    job = start_bulk_operation(
        verb.name, {"pk__in": ids}, arguments=arguments, by=page.user, reason=reason
    )
    text = say(
        "%(verb)s: the workers do it to %(n)d runs, bit by bit. The page Health shows how far "
        "job %(job)d is."
    )
    page.say(text % {"verb": _label(verb), "n": len(ids), "job": job.pk})


def _do_at_once(page: Page, verb: Verb, runs: QuerySet[FlowRun], arguments: dict[str, Any]) -> None:
    """Do it to all runs it is possible for, and say how many, and why not to the others."""
    done, refused = 0, []
    for run in runs:
        try:
            _one(verb, run, page, dict(arguments))
            done += 1
        except (FlowcontrolError, AttributeError, TypeError) as error:
            refused.append(str(error))
    if done:
        text = ngettext("%(verb)s: done to %(n)d run.", "%(verb)s: done to %(n)d runs.", done)
        page.say(text % {"verb": _label(verb), "n": done})
    if refused:
        _name_refused(page, refused)


def _one(verb: Verb, run: FlowRun, page: Page, arguments: dict[str, Any]) -> None:
    if (changes := arguments.pop("changes", None)) is not None:
        arguments["state"] = {**state_of(run.state), **changes}
    getattr(public_runs, verb.name)(run, by=page.user, **arguments)


def _name_refused(page: Page, refused: list[str]) -> None:
    count = len(refused)
    text = ngettext("%(n)d run was left alone:", "%(n)d runs were left alone:", count)
    more = " …" if count > MOST_REASONS else ""
    said = f"{text % {'n': count}} {' '.join(refused[:MOST_REASONS])}{more}"
    page.say(said, messages.WARNING)


def _newest(versions: QuerySet[FlowVersion]) -> QuerySet[FlowVersion]:
    return versions.select_related("flow").order_by("-pk")[:MOST_VERSIONS]
