"""Runs by what a person types, on a table of millions: each question is answered by an index.

Only the keys of the runs are asked for here, by one question for each kind of name. All in one, or
with the order and the limit of a list, a planner may read the whole table backwards instead: it
takes the runs that fit for evenly spread, and those that are sought may all be old.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from django.db import connections, models
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Cast, Replace

from flowcontrol_core.models.about import MAX_KEY
from flowcontrol_core.models.flow import Flow
from flowcontrol_core.texts import UNSTORABLE

#: The most runs that are found.
MOST_FOUND = 1_000
#: The newest runs, among which is searched what no index answers.
MOST_READ = 10_000
_NUMBER = re.compile(r"#?([0-9]{1,18})")
_UUID_START = re.compile(r"[0-9a-f]{8,32}")
#: Sorts after every other one where text is compared byte by byte.
_LAST_CHARACTER = "\U0010ffff"


class RunSearch:
    """One search among the runs of a query set: see ``FlowRunQuerySet.search``."""

    def __init__(
        self, runs: QuerySet[Any], text: str, may_search: Callable[[str], bool] | None
    ) -> None:
        self._runs = runs
        self._text = text.strip()
        self._may_search = may_search or bool

    def keys(self) -> list[int]:
        """Return the primary keys of the runs that are found."""
        if not self._text or UNSTORABLE.search(self._text):
            return []
        types = list(filter(self._may_search, self._object_types()))
        found = [*self._by_number(), *self._by_uuid(), *self._by_object(types), *self._by_flow()]
        return found[:MOST_FOUND] or self._by_object_text(types)

    def _by_number(self) -> list[int]:
        number = _NUMBER.fullmatch(self._text)
        return _keys(self._runs.filter(pk=number[1])) if number else []

    def _by_uuid(self) -> list[int]:
        digits = self._text.replace("-", "").lower()
        if not _UUID_START.fullmatch(digits):
            return []
        first, last = (UUID(digits.ljust(32, filler)) for filler in "0f")
        database = connections[self._runs.db]
        sorts_by_the_end = database.vendor == "mysql" and database.features.has_native_uuid_field
        if first == last or not sorts_by_the_end:
            return _keys(self._runs.filter(uuid__range=(first, last)))
        text = Replace(Cast("uuid", models.CharField()), Value("-"), Value(""))
        newest = self._among_the_newest().annotate(uuid_text=text)
        return _keys(newest.filter(uuid_text__startswith=digits))

    def _by_object(self, types: list[str]) -> list[int]:
        """Find the object with that key; where there is none, those whose keys begin so."""
        if len(self._text) > MAX_KEY:
            return []
        exact = self._runs.filter(object_type__in=types, object_key=self._text)
        # The newest, in an order that no index has: only the runs of the object are read.
        return _keys(exact, F("pk") * -1) or list(self._by_beginning(types))[:MOST_FOUND]

    def _by_beginning(self, types: list[str]) -> Iterator[int]:
        beginning = (self._text, self._text + _LAST_CHARACTER)
        for label in types:
            of_type = self._runs.filter(object_type=label, object_key__range=beginning)
            yield from _keys(of_type, "object_key")

    def _by_flow(self) -> list[int]:
        """Find the runs of the flow: in the order of an index live ones, then the last finished."""
        named = Flow.objects.using(self._runs.db).filter(Q(key=self._text) | Q(name=self._text))
        flows = list(named.order_by().values_list("pk", flat=True))
        of_flows = self._runs.filter(flow_id__in=flows)
        return _keys(of_flows, "-status", "-finished_at") if flows else []

    def _by_object_text(self, types: list[str]) -> list[int]:
        words = Q(*(("object_text__icontains", word) for word in self._text.split()))
        return _keys(self._among_the_newest().filter(words, object_type__in=types))

    def _object_types(self) -> Iterator[str]:
        """Yield the labels of the objects that there are runs of; each is one probe of an index."""
        labels = self._all().order_by("object_type").values_list("object_type", flat=True)
        label: str | None = ""
        while label := next(iter(labels.filter(object_type__gt=label)[:1]), None):
            yield label

    def _among_the_newest(self) -> QuerySet[Any]:
        oldest = self._all().order_by("-pk").values_list("pk", flat=True)
        return self._runs.filter(pk__gte=next(iter(oldest[MOST_READ - 1 : MOST_READ]), 0))

    def _all(self) -> QuerySet[Any]:
        runs: QuerySet[Any] = self._runs.model._default_manager.using(self._runs.db)
        return runs


def _keys(runs: QuerySet[Any], *order: Any) -> list[int]:
    return list(runs.order_by(*order or ("-pk",)).values_list("pk", flat=True)[:MOST_FOUND])
