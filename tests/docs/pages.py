"""The pages of the documentation, read: sections, tables, blocks of code."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.databases import ROOT

DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^```(?P<language>[\w-]*)(?P<info>[^\n]*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A block of code; ``before`` is the line of text that stands right before it."""

    language: str
    info: str
    text: str
    line: int
    before: str


def read(name: str) -> str:
    """Return the text of a page, by its path below ``docs``."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages, or all."""
    return [
        Block(
            language=match["language"],
            info=match["info"].strip(),
            text=match["text"],
            line=text.count("\n", 0, match.start()) + 2,
            before=text[: match.start()].rstrip().rpartition("\n\n")[2].replace("\n", " "),
        )
        for match in _FENCE.finditer(text)
        if not languages or match["language"] in languages
    ]


def sections(text: str) -> dict[str, str]:
    """Return what stands under each heading, down to the next one; its name has no backticks."""
    bare = _FENCE.sub(lambda match: re.sub(r"^#", " #", match[0], flags=re.MULTILINE), text)
    found = list(_HEADING.finditer(bare))
    ends = [match.start() for match in found[1:]] + [len(bare)]
    return {
        match[2].replace("`", ""): bare[match.end() : end]
        for match, end in zip(found, ends, strict=True)
    }


def entries(text: str) -> dict[str, str]:
    """Return the sections of a page whose headings are one name in backticks."""
    bare = {name.strip("`") for _, name in _HEADING.findall(text) if _CODE.fullmatch(name)}
    return {name: section for name, section in sections(text).items() if name in bare}


def rows(section: str) -> list[list[str]]:
    """Return the cells of the tables in a section, heads left out."""
    lines = [line.strip() for line in section.splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        row
        for index, row in enumerate(cells)
        if not _is_rule(row) and not (index + 1 < len(cells) and _is_rule(cells[index + 1]))
    ]


def names(section: str) -> list[str]:
    """Return what is in backticks in the first column of a section's tables."""
    return [name for row in rows(section) for name in _CODE.findall(row[0])]


def codes(text: str) -> set[str]:
    """Return all that is in backticks."""
    return set(_CODE.findall(text))


def _is_rule(row: list[str]) -> bool:
    return all(cell and set(cell) <= set("-: ") for cell in row)
