"""What all pages share: routes with their permissions, errors as pages, breadcrumbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flowcontrol_core.errors import DocumentError, FlowcontrolError, StaleRevisionError

APP = "flowcontrol_core"
READING = ("GET", "HEAD")
MAX_REASON = 500
VIEW_FLOW, ADD_FLOW = "view_flow", "add_flow"
CHANGE_FLOW, DELETE_FLOW = "change_flow", "delete_flow"
PUBLISH_FLOW, ACTIVATE_FLOW, START_FLOW = "publish_flow", "activate_flow", "start_flow"
VIEW_RUN, OPERATE_RUN = "view_flowrun", "operate_flowrun"

Crumb: TypeAlias = tuple[str, str]
#: What is not repeated to somebody whose edit came too late.
_UNTYPED = frozenset({"csrfmiddlewaretoken", "revision"})


def may(user: Any, permission: str) -> bool:
    """Say whether a user has a permission of this app; whoever may change may view."""
    names = [permission]
    if permission.startswith("view_"):
        names.append(permission.replace("view_", "change_", 1))
    return any(user.has_perm(f"{APP}.{name}") for name in names)


class Page:
    """One request to the admin, and what its answer is made of."""

    def __init__(self, request: HttpRequest, admin: ModelAdmin[Any], subject: Model | None) -> None:
        self.request = request
        self.admin = admin
        self.subject = subject

    @property
    def user(self) -> User:
        """Give who is logged in; nobody else gets here."""
        return cast("User", self.request.user)

    @property
    def is_post(self) -> bool:
        return self.request.method == "POST"

    @property
    def reason(self) -> str:
        """Give why it is done, as the user has written it beside the button."""
        return self.request.POST.get("reason", "")[:MAX_REASON].strip()

    def may(self, permission: str) -> bool:
        return may(self.user, permission)

    def render(self, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
        """Give a page in the look of the admin."""
        meta = self.admin.model._meta
        shown = {
            **self.admin.admin_site.each_context(self.request),
            "opts": meta,
            "crumbs": [*self._crumbs(), *context.pop("crumbs", ())],
            **{f"may_{name}": self.may(name) for name in _PERMISSIONS},
            **context,
        }
        return TemplateResponse(self.request, f"flowcontrol_admin/{template}", shown, status=status)

    def problem(
        self, error: FlowcontrolError | str, *, status: int = 400, back: str = ""
    ) -> HttpResponse:
        """Give a page that says what went wrong."""
        listed = list(error.problems) if isinstance(error, DocumentError) else []
        return self.render(
            "problem.html",
            status=status,
            title=_("That did not work"),
            message="" if listed else str(error),
            problems=listed,
            back=back or self._home(),
        )

    def redirect(self, name: str, *args: object, anchor: str = "") -> HttpResponse:
        """Send the browser to another page, as after each change."""
        return HttpResponseRedirect(url(name, *args) + (f"#{anchor}" if anchor else ""))

    def say(self, text: str, level: int = messages.SUCCESS) -> None:
        """Have a sentence shown on the next page."""
        messages.add_message(self.request, level, text)

    def log(self, subject: Model, text: str) -> None:
        """Note a change in the history of the admin."""
        self.admin.log_change(self.request, subject, text)

    def stale(self, error: StaleRevisionError) -> HttpResponse:
        """Say that somebody else was faster, and show what was typed, so that it is not lost."""
        typed = [
            (name, value)
            for name, values in self.request.POST.lists()
            if name not in _UNTYPED
            for value in values
        ]
        return self.render(
            "stale.html",
            status=409,
            title=_("Nothing was saved"),
            message=str(error),
            typed=typed,
            back=self._home(),
        )

    def _crumbs(self) -> list[Crumb]:
        meta = self.admin.model._meta
        crumbs = [(capfirst(str(meta.verbose_name_plural)), url(f"{meta.model_name}_changelist"))]
        if self.subject is not None:
            crumbs.append((str(self.subject), self._home()))
        return crumbs

    def _home(self) -> str:
        """Give the page of the subject, or of the list."""
        if self.subject is None:
            return url(f"{self.admin.model._meta.model_name}_changelist")
        name = "flow_editor" if self.admin.model._meta.model_name == "flow" else "flowrun_change"
        return url(name, self.subject.pk)


_PERMISSIONS = (
    CHANGE_FLOW, ADD_FLOW, DELETE_FLOW, PUBLISH_FLOW, ACTIVATE_FLOW, START_FLOW, VIEW_FLOW,
    VIEW_RUN, OPERATE_RUN,
)  # fmt: skip

View: TypeAlias = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A view of the admin: where it is, and which permissions it asks for.

    ``needs`` is asked for at each request, ``writes`` in addition where something is changed.
    """

    path: str
    name: str
    view: View
    needs: tuple[str, ...]
    writes: tuple[str, ...] = ()
    methods: tuple[str, ...] = READING

    def permissions(self, method: str | None) -> Iterable[str]:
        """Give the permissions that a request with that method needs."""
        return self.needs if method in READING else (*self.needs, *self.writes)


def url(name: str, *args: object) -> str:
    """Give the address of a view of this app's admin."""
    return reverse(f"admin:{APP}_{name}", args=args)


def patterns(admin: ModelAdmin[Any], routes: Iterable[Route]) -> list[URLPattern]:
    """Give the URL patterns of routes, each behind the admin's login."""
    return [
        path(
            route.path,
            admin.admin_site.admin_view(_Endpoint(admin, route)),
            name=f"{APP}_{route.name}",
        )
        for route in routes
    ]


class _Endpoint:
    """Answers requests for one route: permission first, then method, then the subject."""

    def __init__(self, admin: ModelAdmin[Any], route: Route) -> None:
        self.admin = admin
        self.route = route
        self.__name__ = route.name

    def __call__(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        if not all(may(request.user, name) for name in self.route.permissions(request.method)):
            raise PermissionDenied
        if request.method not in self.route.methods:
            return HttpResponseNotAllowed(self.route.methods)
        subject = self._subject(kwargs)
        page = Page(request, self.admin, subject)
        try:
            return self.route.view(page, *([subject] if subject else []), **kwargs)
        except StaleRevisionError as error:
            return page.stale(error)
        except FlowcontrolError as error:
            return page.problem(error)

    def _subject(self, kwargs: dict[str, Any]) -> Model | None:
        if "pk" not in kwargs:
            return None
        model: type[Model] = self.admin.model
        return get_object_or_404(model, pk=kwargs.pop("pk"))
