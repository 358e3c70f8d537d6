"""The models that a project names in ``FLOWCONTROL["SIGNAL_MODELS"]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model

# What a part of a trigger's key can be.
_PART = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SignalModels:
    """The models that were found, and a sentence for each label that names none."""

    models: Sequence[type[Model]]
    problems: Sequence[str]


def find_models(labels: Any) -> SignalModels:
    """Return the models of labels such as ``shop.order``; never raises."""
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        return SignalModels((), (f"It is {labels!r}, not a list of labels.",))
    models: list[type[Model]] = []
    problems: list[str] = []
    for label in labels:
        try:
            models.append(_find(label))
        except LookupError as error:
            problems.append(str(error))
    return SignalModels(tuple(dict.fromkeys(models)), problems)


def key_of(model: type[Model]) -> str:
    """Return the part of a trigger's key that stands for a model."""
    return model._meta.label.lower()


def _find(label: Any) -> type[Model]:
    """Return the model of a label; raises LookupError, naming the label and the problem."""
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError, AttributeError, TypeError):
        raise LookupError(f"{label!r} names no model of an installed app.") from None
    if model._meta.swapped:
        raise LookupError(f"{label!r} is swapped for {model._meta.swapped!r} and never saved.")
    if not all(_PART.fullmatch(part) for part in key_of(model).split(".")):
        raise LookupError(f"{label!r} contains characters that a trigger's key cannot have.")
    return model
