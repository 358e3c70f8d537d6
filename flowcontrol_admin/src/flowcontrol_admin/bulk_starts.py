"""Starting a flow for the objects of any admin: for one, for those of a list, in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol import runs
from flowcontrol.errors import FlowcontrolError
from flowcontrol.models import BulkOperation, Flow
from flowcontrol_admin.fields import ReasonForm
from flowcontrol_admin.operator_actions import MOST_AT_ONCE, MOST_IN_BULK, refusals
from flowcontrol_admin.pages import START_FLOW, VIEW_FLOW, VIEW_RUN, Crumb, Page, may, url

CONFIRMED = "confirmed"


class ObjectPage(Page):
    """A page within the admin of another model."""

    def _crumbs(self) -> list[Crumb]:
        meta = self.admin.model._meta
        crumbs = [(capfirst(str(meta.verbose_name_plural)), self.address("changelist"))]
        if self.subject is not None:
            crumbs.append((str(self.subject), self.home()))
        return crumbs

    def address(self, view: str, *args: object) -> str:
        """Return the address of a view of the model's admin."""
        meta = self.admin.model._meta
        name = f"{self.admin.admin_site.name}:{meta.app_label}_{meta.model_name}_{view}"
        return reverse(name, args=args)

    @property
    def quoted(self) -> str:
        """Return the key of the subject as the admin writes it in addresses."""
        return "" if self.subject is None else str(quote(self.subject.pk))

    def home(self, **_others: object) -> str:
        return self.address("change", self.quoted) if self.quoted else self.address("changelist")


class ChooseFlowForm(ReasonForm):
    """Which flow is started, and why."""

    flow = forms.ChoiceField(label=_("Flow"), widget=forms.RadioSelect)
    field_order = ("flow", "reason")

    def __init__(self, data: Any, offered: Sequence[Flow]) -> None:
        super().__init__(data)
        field: Any = self.fields["flow"]
        field.choices = [(str(flow.pk), flow.name) for flow in offered]
        if len(offered) == 1:
            field.initial = str(offered[0].pk)


def may_start(user: Any) -> bool:
    """Return whether a user may start flows in general."""
    return may(user, VIEW_FLOW) and may(user, START_FLOW)


def startable_flows(user: Any, model: type[Model]) -> list[Flow]:
    """Return the active, published flows about a model that a user may start; one query."""
    labels = {each._meta.label_lower for each in model.__mro__ if hasattr(each, "_meta")}
    found = Flow.objects.filter(active=True, published__object_type__in=labels)
    return [
        flow
        for flow in found.order_by("name", "pk")
        if may(user, VIEW_FLOW, flow) and may(user, START_FLOW, flow)
    ]


def start_for_one(page: ObjectPage, obj: Model) -> HttpResponse:
    """Show the flows that can be started for an object; each leads to the form of its start."""
    about = urlencode({"object": obj.pk})
    offered = startable_flows(page.user, type(obj))
    return page.render(
        "start_one.html",
        title=gettext("Start a flow for “%(object)s”") % {"object": obj},
        crumb=gettext("Start a flow"),
        flows=[(flow, f"{url('flow_start', flow.pk)}?{about}") for flow in offered],
    )


def start_for_many(page: ObjectPage, chosen: QuerySet[Any]) -> HttpResponse | None:
    """Ask which flow; then start it for the chosen objects, or let the sweeps do that."""
    offered, count = startable_flows(page.user, page.admin.model), chosen.order_by().count()
    if problem := _problem(page, offered, count):
        page.notify(problem, messages.ERROR)
        return None
    is_confirmed = CONFIRMED in page.request.POST
    form = ChooseFlowForm(page.request.POST if is_confirmed else None, offered)
    if not is_confirmed or not form.is_valid():
        return _ask(page, form, count)
    flow = next(one for one in offered if str(one.pk) == form.cleaned_data["flow"])
    try:
        return _start(page, flow, chosen, form.cleaned_data["reason"])
    except FlowcontrolError as error:
        page.notify(str(error), messages.ERROR)
    return None


def _problem(page: ObjectPage, offered: list[Flow], count: int) -> str:
    if not offered:
        text = gettext("No active, published flow about %(model)s exists that you may start.")
        return text % {"model": page.admin.model._meta.verbose_name_plural}
    if count > MOST_IN_BULK:
        text = gettext("More than %(n)d objects are selected; nothing was done. Filter the list.")
        return text % {"n": MOST_IN_BULK}
    return ""


def _ask(page: ObjectPage, form: ChooseFlowForm, count: int) -> HttpResponse:
    posted = page.request.POST
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "index")
    kept = [(name, value) for name in names for value in posted.getlist(name)]
    return page.render(
        "start_many.html",
        title=gettext("Start a flow"),
        form=form,
        submit=gettext("Start"),
        count=count,
        names=page.admin.model._meta.verbose_name_plural,
        chosen=[*kept, (CONFIRMED, "1")],
        back=page.request.get_full_path(),
    )


def _start(page: ObjectPage, flow: Flow, chosen: QuerySet[Any], reason: str) -> HttpResponse | None:
    """Start a flow at once for a page of objects, for more as a bulk operation."""
    objects, hidden = _visible(page, chosen)
    given: dict[str, Any] = {"by": page.user, "reason": reason}
    if hidden:
        text = ngettext(
            "%(n)d object was left out: you may not view it.",
            "%(n)d objects were left out: you may not view them.",
            hidden,
        )
        page.notify(text % {"n": hidden}, messages.WARNING)
    if len(objects) <= MOST_AT_ONCE:
        _tell(page, flow, runs.start_for_each(flow, objects, **given))
        return None
    keys = [obj.pk for obj in objects]
    operation = runs.start_in_bulk(flow, page.admin.model, keys, **given)
    text = gettext("The workers start “%(flow)s” for %(n)d objects in chunks.")
    page.notify(text % {"flow": flow.name, "n": len(keys)})
    return show_progress(page, operation)


def show_progress(page: Page, operation: BulkOperation) -> HttpResponse | None:
    """Lead to the page of a bulk operation; None for those who may not view runs."""
    if not may(page.user, VIEW_RUN):
        return None
    return HttpResponseRedirect(url("flowrun_operation", operation.pk))


def _visible(page: ObjectPage, chosen: QuerySet[Any]) -> tuple[list[Any], int]:
    """Return those of the objects that the user may view, and how many others there are."""
    rows: Iterable[Any] = chosen.order_by("pk").iterator(chunk_size=MOST_AT_ONCE)
    if page.objects.may_view_every(page.admin.model):
        return list(rows), 0
    found, hidden = [], 0
    for obj in rows:
        if page.objects.may_view(obj):
            found.append(obj)
        else:
            hidden += 1
    return found, hidden


def _tell(page: Page, flow: Flow, result: BulkOperation) -> None:
    if result.done:
        text = ngettext(
            "“%(flow)s” was started for %(n)d object.",
            "“%(flow)s” was started for %(n)d objects.",
            result.done,
        )
        page.notify(text % {"flow": flow.name, "n": result.done})
    if result.refused:
        text = ngettext(
            "For %(n)d object it was not started: %(why)s",
            "For %(n)d objects it was not started: %(why)s",
            result.refused,
        )
        why = "; ".join(refusals(result))
        page.notify(text % {"n": result.refused, "why": why}, messages.WARNING)
