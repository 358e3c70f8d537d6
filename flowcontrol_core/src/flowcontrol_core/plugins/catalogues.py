"""Translations of plugins that are not Django apps: a ``locale`` folder beside their module."""

from __future__ import annotations

from gettext import GNUTranslations
from pathlib import Path
from types import ModuleType

from django.conf import settings
from django.utils.translation import trans_real


def add_catalogue(module: ModuleType) -> None:
    """Let Django find the ``locale`` folder of a plugin's package, if it has one.

    The folder comes after those of the project, whose texts go first. Django has no public way to
    add one: it reads the folders of its apps and of the setting LOCALE_PATHS when a language is
    first used. What it has read by then is forgotten.
    """
    # A module that is not in a package has no folder of its own.
    file = getattr(module, "__file__", None) if module.__package__ else None
    if file and (folder := Path(file).with_name("locale")).is_dir():
        for catalogue in folder.glob("*/LC_MESSAGES/django.mo"):
            # Django would fail at each text of that language.
            with catalogue.open("rb") as opened:
                GNUTranslations(opened)
        settings.LOCALE_PATHS = [*settings.LOCALE_PATHS, str(folder)]
        trans_real._translations = {}  # type: ignore[attr-defined]  # noqa: SLF001
        trans_real._default = None  # type: ignore[attr-defined]  # noqa: SLF001
