"""The system checks before a worker starts: those of the site, but not of its pages."""

from __future__ import annotations

from typing import Final

from django.core.checks import CheckMessage, Tags
from django.core.checks.registry import CheckRegistry, registry

#: They import all pages of the site, which a worker does not show.
_OF_PAGES: Final = frozenset({Tags.admin, Tags.urls})


def site_issues() -> list[CheckMessage]:
    """Return what the checks find, gravest first, without what is silenced."""
    chosen = CheckRegistry()
    every = registry.get_checks()
    chosen.registered_checks = {one for one in every if _OF_PAGES.isdisjoint(one.tags)}
    found = [issue for issue in chosen.run_checks() if not issue.is_silenced()]
    return sorted(found, key=lambda issue: (-issue.level, str(issue)))
