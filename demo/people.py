"""People with browsers: they see the pages of the site, fill in its forms and send them."""

from __future__ import annotations

import re

from django.test import Client
from django.urls import reverse

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ERRORS = re.compile(r'<ul class="errorlist.*?</ul>', re.DOTALL)


class SiteRefused(Exception):
    """The site did not take what somebody sent."""


class Person:
    """Somebody with an account, or about to have one; the site checks the CSRF tokens."""

    def __init__(self, name: str, *, phone: str, newsletter: bool = False) -> None:
        self.name = name
        self.username = name.lower()
        self.email = f"{self.username}@readers.example"
        self.phone = phone
        self.newsletter = newsletter
        self.password = f"{self.username} likes books"
        self.browser = Client(enforce_csrf_checks=True, SERVER_NAME="localhost")

    def sign_up(self) -> None:
        """Fill in the form for new customers, then log in."""
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
        self._send(reverse("sign-up"), fields)
        self.log_in()

    def log_in(self) -> None:
        """Log in through Django's own view."""
        fields = {"username": self.username, "password": self.password}
        self._send(reverse("log-in"), fields)

    def guess_password(self, username: str) -> None:
        """Try to log in as somebody else; the site must not let that happen."""
        try:
            self._send(reverse("log-in"), {"username": username, "password": "123456"})
        except SiteRefused:
            return
        raise AssertionError(f"{self.name} could log in as {username}.")

    def sign_up_from_another_site(self) -> None:
        """Send the form without its token, as another site would; it must be refused."""
        answer = self.browser.post(reverse("sign-up"), {"username": self.username})
        if answer.status_code != 403:
            raise AssertionError(f"The site took a form without a token: {answer.status_code}.")

    def order(self, title: str, copies: int = 1) -> None:
        """Order some copies of a book."""
        self._send(reverse("place-order"), {"title": title, "copies": str(copies)})

    def pay(self, order: int) -> None:
        """Press the button beside an open order."""
        self._press(reverse("pay-order", args=[order]))

    def cancel(self, order: int) -> None:
        """Press the button beside an open order."""
        self._press(reverse("cancel-order", args=[order]))

    def close_account(self) -> None:
        """Leave, with everything."""
        self._press(reverse("close-account"))

    def _press(self, action: str) -> None:
        """Press a button of the home page; raises SiteRefused where there is none."""
        page = reverse("home")
        if f'action="{action}"' not in self._look_at(page):
            raise SiteRefused(f"{self.name} sees no button for {action} on {page}.")
        self._send(page, {}, action)

    def _look_at(self, page: str) -> str:
        return self.browser.get(page).content.decode()

    def _send(self, page: str, fields: dict[str, str], action: str = "") -> None:
        """Send a form of a page with its CSRF token; a site that takes it redirects."""
        token = _TOKEN.search(self._look_at(page))
        if token is None:
            raise SiteRefused(f"{self.name} sees no form on {page}.")
        answer = self.browser.post(action or page, {**fields, "csrfmiddlewaretoken": token[1]})
        if answer.status_code != 302:
            errors = _ERRORS.findall(answer.content.decode()) or [f"status {answer.status_code}"]
            raise SiteRefused(f"{page} refused {self.name}: {' '.join(errors)}")
