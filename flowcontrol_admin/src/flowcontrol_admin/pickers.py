"""What the pages offer to choose from: actions and triggers, by group, as far as a search fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from flowcontrol_admin.pages import Page
from flowcontrol_admin.pictures import Picture


class Offer(NamedTuple):
    """A choice as templates may see it: they would call, and so fire, a trigger itself."""

    group: str
    key: str
    label: str
    description: str
    model: str = ""
    payload: tuple[tuple[str, str], ...] = ()
    picture: Picture | None = None

    @property
    def words(self) -> str:
        """Return what a search reads."""
        return f"{self.label} {self.description} {self.key} {self.group}".lower()

    def fits(self, query: str) -> bool:
        """Return whether each word of a search occurs in it."""
        return all(word in self.words for word in query.lower().split())


def search_query(page: Page) -> str:
    """Return what the user searches for."""
    return page.request.GET.get("q", "").strip()[:100]


def grouped(offers: Iterable[Offer], query: str) -> list[tuple[str, list[Offer]]]:
    """Return the offers that fit a search, by group, in the order of their names."""
    groups: dict[str, list[Offer]] = defaultdict(list)
    for offer in sorted(offers, key=lambda one: (one.group, one.label)):
        if offer.fits(query):
            groups[offer.group].append(offer)
    return list(groups.items())
