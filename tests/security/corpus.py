"""The corpus of attacks: read from the files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "attacks"


@dataclass(frozen=True)
class Attack:
    """A text, its family, and whether it has to be refused."""

    family: str
    text: str
    is_refused: bool = False

    def __str__(self) -> str:
        return f"{self.family}: {self.text[:60]!r}"


def read(name: str) -> list[Attack]:
    """Return the attacks of a file, in its order."""
    families = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return [
        Attack(family["family"], _joined(attack), family.get("is") == "refused")
        for family in families
        for attack in family["attacks"]
    ]


def _joined(attack: Any) -> str:
    """Return the text of an attack: of the parts, each a text, or a text and how often."""
    if not isinstance(attack, list):
        return str(attack)
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in attack)
