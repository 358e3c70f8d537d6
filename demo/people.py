"""People with browsers: they open the pages of the site and submit its forms."""

from __future__ import annotations

import re

from django.test import Client
from django.urls import reverse

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ERRORS = re.compile(r'<ul class="errorlist.*?</ul>', re.DOTALL)


class SiteRefused(Exception):
    """The site refused a form."""


class Person:
    """A visitor of the site, with or without an account; the site checks the CSRF tokens."""

    def __init__(self, name: str, *, phone: str, newsletter: bool = False) -> None:
        self.name = name
        self.username = name.lower()
        self.email = f"{self.username}@readers.example"
        self.phone = phone
        self.newsletter = newsletter
        self.password = f"{self.username} likes books"
        self.browser = Client(enforce_csrf_checks=True, SERVER_NAME="localhost")

    def sign_up(self) -> None:
        """Submit the form for new customers, then log in."""
        fields = {
            "username": self.username,
            "email": self.email,
            "name": self.name,
            "phone": self.phone,
            "password1": self.password,
            "password2": self.password,
        }
        if self.newsletter:
            fields["newsletter"] = "on"
        self._submit(reverse("sign-up"), fields)
        self.log_in()

    def log_in(self) -> None:
        """Log in through Django's own view."""
        fields = {"username": self.username, "password": self.password}
        self._submit(reverse("log-in"), fields)

    def guess_password(self, username: str) -> None:
        """Try to log in as another user; raises AssertionError if the site accepts it."""
        try:
            self._submit(reverse("log-in"), {"username": username, "password": "123456"})
        except SiteRefused:
            return
        raise AssertionError(f"{self.name} has logged in as {username}.")

    def sign_up_from_another_site(self) -> None:
        """Submit the form without its token, as another site would; the site must refuse it."""
        answer = self.browser.post(reverse("sign-up"), {"username": self.username})
        if answer.status_code != 403:
            raise AssertionError(f"The site accepted a form without a token: {answer.status_code}.")

    def order(self, title: str, copies: int = 1) -> None:
        """Order copies of a book."""
        self._submit(reverse("place-order"), {"title": title, "copies": str(copies)})

    def pay(self, order: int) -> None:
        """Press “Pay” beside an open order."""
        self._press(reverse("pay-order", args=[order]))

    def cancel(self, order: int) -> None:
        """Press “Cancel” beside an open order."""
        self._press(reverse("cancel-order", args=[order]))

    def close_account(self) -> None:
        """Delete the account with everything that belongs to it."""
        self._press(reverse("close-account"))

    def _press(self, action: str) -> None:
        """Press a button of the home page; raises SiteRefused if it is missing."""
        page = reverse("home")
        if f'action="{action}"' not in self._open(page):
            raise SiteRefused(f"{page} shows {self.name} no button for {action}.")
        self._submit(page, {}, action)

    def _open(self, page: str) -> str:
        return self.browser.get(page).content.decode()

    def _submit(self, page: str, fields: dict[str, str], action: str = "") -> None:
        """Submit a form of a page with its CSRF token; the site redirects when it accepts it."""
        token = _TOKEN.search(self._open(page))
        if token is None:
            raise SiteRefused(f"{page} shows {self.name} no form.")
        answer = self.browser.post(action or page, {**fields, "csrfmiddlewaretoken": token[1]})
        if answer.status_code != 302:
            errors = _ERRORS.findall(answer.content.decode()) or [f"status {answer.status_code}"]
            raise SiteRefused(f"{page} refused {self.name}: {' '.join(errors)}")
