"""The documentation holds: its links lead somewhere, and its Python is Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.cases import each
from tests.databases import ROOT
from tests.tooling.sources import IN_SETTINGS

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^(?:>>>|\.\.\.) (.*)$", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
UNWANTED = {"node_modules", "dist", "build"}


def documents() -> list[Path]:
    """Every page of the repository."""
    return sorted(_pages_below(ROOT))


def _pages_below(folder: Path) -> Iterator[Path]:
    # Not by rglob: the environments in .venv have tens of thousands of files.
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in UNWANTED:
            continue
        if path.is_dir():
            yield from _pages_below(path)
        elif path.suffix == ".md":
            yield path


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and most renderers make them."""
    without_code = FENCE.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(without_code)
    }


def local_links(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for match in LINK.finditer(text):
        link = match[1] or match[2]
        if not urlsplit(link).scheme:
            yield link


def broken_links(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading in it."""
    return [link for link in local_links(page) if not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    target = page if not parts.path else page.parent / unquote(parts.path)
    if not target.exists():
        return False
    if not parts.fragment or target.suffix != ".md":
        return True
    return parts.fragment in anchors(target.read_text(encoding="utf-8"))


def python_snippets(page: Path) -> list[tuple[str, str]]:
    """The Python blocks of a page: where each one starts, and its text."""
    text = page.read_text(encoding="utf-8")
    return [
        (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 2}", block[2])
        for block in FENCE.finditer(text)
        if block[1] in {"python", "py"}
    ]


@each("page", documents())
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@each("page", documents())
def test_python_snippets_of_a_page_compile(page: Path) -> None:
    for place, snippet in python_snippets(page):
        compile(snippet, place, "exec")


@each("page", documents())
def test_snippets_of_a_page_import_the_public_api_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sessions = ["\n".join(PROMPT.findall(block[2])) for block in FENCE.finditer(text)]
    for snippet in [snippet for _, snippet in python_snippets(page)] + sessions:
        for node in ast.walk(ast.parse(snippet)):
            for module in imported_modules(node):
                is_inside = module.startswith("flowcontrol_core")
                assert not is_inside or ast.unparse(node) == IN_SETTINGS, page


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Two words, and more\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[good](other.md#two-words-and-more) [bad](other.md#nothing) [gone](missing.md)\n"
        "[elsewhere](https://example.org/missing) `[code](not-a-link.md)`\n"
    )
    assert broken_links(page) == ["other.md#nothing", "missing.md"]


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "explanation" / "decisions"
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert pages == set(local_links(folder / "README.md"))


def test_every_page_is_in_the_table_of_contents() -> None:
    docs = ROOT / "docs"
    contents = set(local_links(docs / "README.md"))
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    decisions = {page for page in pages if page.startswith("explanation/decisions/")}
    index = "explanation/decisions/README.md"
    assert contents == (pages - decisions - {"README.md"}) | {index}


def test_every_picture_says_in_words_what_it_shows() -> None:
    for page in documents():
        for text in re.findall(r"!\[([^\]]*)\]\(", FENCE.sub("", page.read_text(encoding="utf-8"))):
            assert len(text) > 20, f"{page.relative_to(ROOT)}: {text!r}"
