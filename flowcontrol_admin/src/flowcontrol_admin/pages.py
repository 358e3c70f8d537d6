"""What all pages share: requests, routes with their permissions, errors as pages, breadcrumbs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypeAlias, cast

import django
from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import Model
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from flowcontrol.errors import (
    DocumentError,
    EditError,
    FlowcontrolError,
    NotPermittedError,
    StaleRevisionError,
)
from flowcontrol.plugins import explain
from flowcontrol_admin.fields import MAX_REASON, RevisionForm
from flowcontrol_admin.objects import ObjectRights
from flowcontrol_core.flows.config_forms import plain_newlines

APP = "flowcontrol_core"
POST = ("POST",)
READ = ("GET", "HEAD")
READ_AND_POST = (*READ, *POST)
VIEW_FLOW, ADD_FLOW = "view_flow", "add_flow"
CHANGE_FLOW, DELETE_FLOW = "change_flow", "delete_flow"
PUBLISH_FLOW, ACTIVATE_FLOW, START_FLOW = "publish_flow", "activate_flow", "start_flow"
VIEW_RUN, OPERATE_RUN = "view_flowrun", "operate_flowrun"
PERMISSIONS = (
    VIEW_FLOW, ADD_FLOW, CHANGE_FLOW, DELETE_FLOW, PUBLISH_FLOW, ACTIVATE_FLOW, START_FLOW,
    VIEW_RUN, OPERATE_RUN,
)  # fmt: skip

#: What a page is about, as its template calls it.
_KINDS = {f"{APP}.flow": "flow", f"{APP}.flowrun": "run"}
Crumb: TypeAlias = tuple[str, str]
Text: TypeAlias = str | Promise
logger = logging.getLogger(__name__)
#: In the address to which the login leads who was logged out before something was sent.
LOGGED_OUT = "logged-out"
#: What is not shown again to the author of an edit that came too late.
_TOKEN = frozenset({"csrfmiddlewaretoken"})
_NOT_TYPED = _TOKEN | {"revision", "seen", "was"}
#: A script sends it with ``fragment``; the answer has ``page``, or the address where it continues.
HEADER, FRAGMENT, POLL, PAGE = "X-Flowcontrol", "fragment", "live", "admin/base_site.html"
#: The end of an address that shows a form again.
AGAIN = "again/"


def may(user: Any, permission: str, subject: Model | None = None) -> bool:
    """Return whether a user has a permission of this app, for all flows and runs or for this one.

    The permission to change implies the one to view.
    """
    names = dict.fromkeys((permission, permission.replace("view_", "change_", 1)))
    return any(
        user.has_perm(f"{APP}.{name}")
        or (subject is not None and user.has_perm(f"{APP}.{name}", subject))
        for name in names
    )


def url(name: str, *args: object, anchor: str = "") -> str:
    """Return the address of a view of this app's admin, or of a place on its page."""
    return reverse(f"admin:{APP}_{name}", args=args) + (f"#{anchor}" if anchor else "")


def run_list_of(obj: Model) -> str:
    """Return the address of the list of the runs about an object."""
    label = (obj._meta.concrete_model or type(obj))._meta.label_lower
    query = urlencode({"object_type": label, "about": obj.pk})
    return f"{url('flowrun_changelist')}?{query}"


class Page:
    """One request to the admin, and what its answer is made of."""

    def __init__(
        self,
        request: HttpRequest,
        admin: ModelAdmin[Any],
        *,
        name: str = "",
        subject: Model | None = None,
        is_again: bool = False,
    ) -> None:
        self.request = request
        self.admin = admin
        #: The name of the route.
        self.name = name
        #: Whether a form is only to be shown again, with what was typed before a login.
        self.is_again = is_again
        #: The flow or the run that the page is about.
        self.subject = subject
        self._kind = _KINDS.get(admin.model._meta.label_lower, "object")

    @property
    def user(self) -> User:
        """Return who is logged in; the admin has refused everyone else."""
        return cast("User", self.request.user)

    @property
    def is_post(self) -> bool:
        return self.request.method == "POST"

    @property
    def is_fragment(self) -> bool:
        """Return whether a script asks, which shows the answer as a part of its page."""
        return self.request.headers.get(HEADER) == FRAGMENT

    @property
    def is_poll(self) -> bool:
        """Return whether a page asks for what of it changes, to be kept up to date."""
        return self.request.headers.get(HEADER) == POLL

    @property
    def is_to_write(self) -> bool:
        """Return whether what was sent is to be written, and not only to be shown again."""
        return self.is_post and not self.is_again

    @property
    def data(self) -> Mapping[str, Any] | None:
        """Return what was sent, for a form to be bound to."""
        return plain_newlines(self.request.POST) if self.is_post else None

    @property
    def reason(self) -> str:
        """Return the reason that the user entered next to the button."""
        return self.request.POST.get("reason", "")[:MAX_REASON].strip()

    @property
    def revision(self) -> int:
        """Return the revision that the request names; raises EditError where it has none."""
        return int(self.cleaned(RevisionForm(self.request.POST))["revision"])

    @property
    def seen(self) -> str:
        """Return the fingerprint of what the author has seen (``seen``); empty where none came."""
        return self.request.POST.get("seen", "")

    def is_late(self, revision: int, found: str) -> bool:
        """Return whether what an edit is about was changed since its author has seen it.

        Without a fingerprint, any change of the flow counts. Raises EditError without a revision.
        """
        named = self.revision
        return self.seen != found if self.seen else named != revision

    def cleaned(self, form: forms.Form) -> dict[str, Any]:
        """Return what a button has sent; raises EditError where the form is not valid."""
        if form.is_valid():
            return form.cleaned_data
        errors = form.errors.items()
        listed = "; ".join(f"{name}: {' '.join(map(str, found))}" for name, found in errors)
        text = _("The request is incomplete (%(problems)s). Go back and reload the page.")
        raise EditError(text % {"problems": listed})

    def may(self, permission: str) -> bool:
        """Return whether the user has a permission, in general or for the subject of the page."""
        return may(self.user, permission, self.subject)

    @property
    def objects(self) -> ObjectRights:
        """Return what the user may view of the objects that runs are about."""
        return ObjectRights(self.request, self.admin.admin_site)

    def render(
        self,
        template: str,
        *,
        title: Text,
        crumb: Text | None = None,
        parents: Iterable[Crumb] = (),
        status: int = 200,
        **context: Any,
    ) -> HttpResponse:
        """Return a page in the style of the admin.

        ``crumb`` names it in the breadcrumbs, by default its title; an empty one leaves it out.
        """
        name = title if crumb is None else crumb
        shown = {
            **self.admin.admin_site.each_context(self.request),
            **{f"may_{name}": self.may(name) for name in PERMISSIONS},
            "frame": f"flowcontrol_admin/{FRAGMENT}.html" if self.is_fragment else PAGE,
            "is_fragment": self.is_fragment,
            "opts": self.admin.model._meta,
            "page_name": self.name,
            "title": title,
            # Django 6.1 made a list of them.
            "crumbs_are_list": django.VERSION >= (6, 1),
            "crumbs": [*self._crumbs(), *parents, *([(name, "")] if name else [])],
            "back": self.home(),
            # What is shown again is sent to where it was meant for.
            "action": self.request.path.removesuffix(AGAIN) if self.is_again else "",
            self._kind: self.subject,
            **context,
        }
        return TemplateResponse(self.request, f"flowcontrol_admin/{template}", shown, status=status)

    def part(self, template: str, **context: Any) -> HttpResponse:
        """Return a part of a page, without what the admin has around it."""
        shown = {
            **{f"may_{name}": self.may(name) for name in PERMISSIONS},
            "page_name": self.name,
            self._kind: self.subject,
            **context,
        }
        return TemplateResponse(self.request, f"flowcontrol_admin/{template}", shown)

    def problem(self, error: FlowcontrolError, *, status: int = 400) -> HttpResponse:
        """Return a page about what is wrong; after a late edit, with what its author entered."""
        problems = error.problems if isinstance(error, DocumentError) else ()
        message = "" if problems else str(error)
        shown: dict[str, Any] = {"message": message, "problems": problems}
        if isinstance(error, StaleRevisionError):
            title = _("Nothing was saved")
            return self.render("stale.html", title=title, status=409, typed=self.typed(), **shown)
        return self.render("problem.html", title=_("This did not work"), status=status, **shown)

    def redirect(self, name: str, *args: object, anchor: str = "") -> HttpResponse:
        """Send the browser to another page, as after each change."""
        return HttpResponseRedirect(url(name, *args, anchor=anchor))

    def notify(self, text: Text, level: int = messages.SUCCESS) -> None:
        """Show a sentence on the next page."""
        messages.add_message(self.request, level, str(text))

    def link_to(
        self, model: type[Model], view: str, *args: object, obj: Model | None = None
    ) -> str:
        """Return the address of a view of another model's admin, where the user may see it."""
        found = self.admin.admin_site._registry.get(model)  # noqa: SLF001 - the only way to ask
        if found is None or not found.has_view_permission(self.request, obj):
            return ""
        try:
            meta = model._meta
            return reverse(f"admin:{meta.app_label}_{meta.model_name}_{view}", args=args)
        except NoReverseMatch:
            return ""

    def log(self, subject: Model, text: str) -> None:
        """Record a change in the history of the admin."""
        self.admin.log_change(self.request, subject, text)

    def typed(self, but: Container[str] = _NOT_TYPED) -> list[tuple[str, object]]:
        """Return what was sent, except for some names."""
        listed = self.request.POST.lists()
        return [(key, one) for key, values in listed for one in values if key not in but]

    def _crumbs(self) -> list[Crumb]:
        meta = self.admin.model._meta
        crumbs = [(capfirst(str(meta.verbose_name_plural)), url(f"{meta.model_name}_changelist"))]
        return crumbs if self.subject is None else [*crumbs, (str(self.subject), self.home())]

    def home(self, *, step_id: str = "", **_others: object) -> str:
        """Return the address of the page of the subject, at a step of it, or of the list."""
        if self.subject is None:
            return url(f"{self.admin.model._meta.model_name}_changelist")
        name = "flow_editor" if self._kind == "flow" else "flowrun_change"
        return url(name, self.subject.pk, anchor=f"step-{step_id}" if step_id else "")


View: TypeAlias = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Route:
    """A view of the admin: its address, and the permissions that it asks for.

    ``needs`` is asked for at each request, ``writes`` in addition where something is changed.
    ``lets_in`` may let in a request that has no login, or refuse it with PermissionDenied. With
    ``shows_again``, the view shows a form again with what was typed before a login.
    """

    path: str
    name: str
    view: View
    needs: tuple[str, ...]
    writes: tuple[str, ...] = ()
    methods: tuple[str, ...] = READ
    lets_in: Callable[[HttpRequest], bool] | None = None
    shows_again: bool = False

    def permissions(self, method: str | None) -> tuple[str, ...]:
        """Return the permissions that a request with that method needs."""
        return self.needs if method in READ else (*self.needs, *self.writes)


def patterns(admin: ModelAdmin[Any], routes: Sequence[Route]) -> list[URLPattern]:
    """Return the URL patterns of routes, each protected by the admin's login."""
    found = [(route, "", _protected(admin, route)) for route in routes]
    found += [
        (route, AGAIN, csrf_exempt(_protected(admin, route, is_again=True)))
        for route in routes
        if route.shows_again
    ]
    return [
        path(f"{route.path}{again}", view, name=f"{APP}_{route.name}{'_again' if again else ''}")
        for route, again, view in found
    ]


def show_list(page: Page) -> HttpResponseBase:
    """Return the list of flows or of runs."""
    return page.admin.changelist_view(page.request)


def _protected(
    admin: ModelAdmin[Any], route: Route, *, is_again: bool = False
) -> Callable[..., HttpResponseBase]:
    # Showing a form again changes nothing, and its token is of before the login.
    view: Any = partial(_answer, admin, route, is_again)
    view.csrf_exempt = is_again
    inside: Callable[..., HttpResponseBase] = admin.admin_site.admin_view(view)

    @wraps(inside)
    def asks_for_login(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not admin.admin_site.has_permission(request):
            return _logged_out(admin, route, request, kwargs)
        return inside(request, **kwargs)

    lets_in = route.lets_in
    if lets_in is None:
        return asks_for_login

    # A middleware that asks for the login would not let it in.
    @login_not_required
    @never_cache
    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        if request.method in route.methods and lets_in(request):
            return route.view(Page(request, admin, name=route.name))
        return asks_for_login(request, **kwargs)

    return answer


def _logged_out(
    admin: ModelAdmin[Any], route: Route, request: HttpRequest, kwargs: dict[str, Any]
) -> HttpResponseBase:
    """Ask for the login; what was typed stays in the page that does."""
    page = Page(request, admin, name=route.name)
    name, login = f"admin:{APP}_{route.name}", reverse("admin:login")
    back = reverse(name, kwargs=kwargs)
    if not (route.shows_again and page.typed()):
        # The login leads on to a GET of this address.
        return redirect_to_login(f"{back}?{LOGGED_OUT}", login)
    response = page.render(
        "logged_out.html",
        status=403,
        title=_("You were logged out; nothing was changed."),
        crumb="",
        is_nav_sidebar_enabled=False,
        typed=page.typed(but=_TOKEN),
        action=reverse(f"{name}_again", kwargs=kwargs),
        login=f"{login}?{urlencode({'next': back})}",
    )
    add_never_cache_headers(response)
    return response


def _answer(
    admin: ModelAdmin[Any], route: Route, is_again: bool, request: HttpRequest, **kwargs: Any
) -> HttpResponseBase:
    """Answer a request: permission first, then method, then the subject."""
    model: type[Model] = admin.model
    is_about_one = "pk" in kwargs
    subject = model._default_manager.filter(pk=kwargs.pop("pk")).first() if is_about_one else None
    if not all(may(request.user, name, subject) for name in route.permissions(request.method)):
        raise PermissionDenied
    is_for_buttons = request.method == "GET" and (is_again or route.methods == POST)
    if request.method not in route.methods and not is_for_buttons:
        return HttpResponseNotAllowed(route.methods)
    if is_about_one and subject is None:
        raise Http404(_("It does not exist, or no longer."))
    page = Page(request, admin, name=route.name, subject=subject, is_again=is_again)
    if is_for_buttons or is_again or LOGGED_OUT in request.GET:
        _explain(page)
    if is_for_buttons:
        return HttpResponseRedirect(page.home(**kwargs))
    response = _view(page, route, kwargs)
    return _without_redirect(response) if page.is_fragment else response


def _without_redirect(response: HttpResponseBase) -> HttpResponseBase:
    """Write where to continue into a header: a script sees no anchor of a redirect."""
    if isinstance(response, HttpResponseRedirect):
        return HttpResponse(headers={HEADER: response.url})
    response.headers[HEADER] = "page"
    return response


def _explain(page: Page) -> None:
    """Show why nothing was changed."""
    text = _("Nothing was changed: this address is for a button. Press it on this page.")
    if page.is_again and page.is_post:
        text = _("You were logged out. This is what you typed; nothing was saved yet.")
    elif LOGGED_OUT in page.request.GET:
        text = _("You were logged out; nothing was changed.")
    page.notify(text, messages.WARNING)


def _view(page: Page, route: Route, kwargs: dict[str, Any]) -> HttpResponseBase:
    """Call the view; what it refuses becomes a page."""
    try:
        return route.view(page, *([page.subject] if page.subject else []), **kwargs)
    except NotPermittedError as error:
        return page.problem(error, status=403)
    except FlowcontrolError as error:
        return page.problem(error)
    except DatabaseError as error:
        if (unmigrated := explain(error)) is None:
            raise
        return page.problem(unmigrated)


@contextmanager
def plugin_code(name: str) -> Iterator[None]:
    """Turn whatever a plugin's form raises into an EditError."""
    try:
        yield
    except (FlowcontrolError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        logger.exception("The form of %s failed.", name)
        text = _(
            "The form of %(name)s failed: %(error)s. This is a fault of its plugin; see the log "
            "for details."
        )
        shown = f"{type(error).__name__}: {error}"[:300]
        raise EditError(text % {"name": name, "error": shown}) from error
