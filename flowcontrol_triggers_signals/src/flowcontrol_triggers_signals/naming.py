"""The models that a project names in ``FLOWCONTROL["SIGNAL_MODELS"]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model

SETTING = "SIGNAL_MODELS"
# What a part of a trigger's key can be.
_PART = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class NamedModels:
    """The models that were found, and a sentence for each label that names none."""

    models: Sequence[type[Model]]
    problems: Sequence[str]


def named_models() -> Any:
    """Give the setting as the project has written it."""
    given = getattr(settings, "FLOWCONTROL", {})
    return given.get(SETTING, ()) if isinstance(given, dict) else ()


def find_models(labels: Any) -> NamedModels:
    """Find the models of labels such as ``shop.order``; never raises."""
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        return NamedModels((), (f"It is {labels!r}, not a list of labels.",))
    models: list[type[Model]] = []
    problems: list[str] = []
    for label in labels:
        found = _find(label)
        if isinstance(found, str):
            problems.append(found)
        elif found not in models:
            models.append(found)
    return NamedModels(models, problems)


def key_of(model: type[Model]) -> str:
    """Give the part of a trigger's key that stands for a model."""
    return model._meta.label.lower()


def _find(label: Any) -> type[Model] | str:
    """Give a model, or say what is wrong with its label."""
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError, AttributeError, TypeError):
        return f"{label!r} names no model of an installed app."
    if model._meta.swapped:
        return f"{label!r} is swapped for {model._meta.swapped!r}, so it is never saved."
    if not all(_PART.fullmatch(part) for part in key_of(model).split(".")):
        return f"{label!r} cannot be part of a trigger's key: it has other characters than a to z."
    return model
