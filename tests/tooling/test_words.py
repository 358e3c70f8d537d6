"""The words that had to go stay away: one concept has one name, and that is the field's.

Each row is a stem (a cheap test whether a file can have the word at all), what is searched for, and
what to write instead. Where a file may have the word nevertheless, `ALLOWED` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.cases import each
from tests.databases import ROOT
from tests.tooling.sources import at, read

FOLDERS = ("flowcontrol_*/src", "plugins_example", "demo", "docs")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "flowcontrol_*/README.md")
SUFFIXES = {".py", ".html", ".txt", ".md", ".yaml", ".toml", ".js", ".css"}


def word(*forms: str) -> str:
    """Return a pattern for words on their own, as parts of names too: `job`, `job_id`, `JobRow`."""
    lower = "|".join(forms)
    title = "|".join(form.capitalize() for form in forms)
    upper = "|".join(form.upper() for form in forms)
    return (
        rf"(?<![A-Za-z])(?:{lower})(?![a-z])"
        rf"|(?:{title})(?![a-z])"
        rf"|(?<![A-Za-z])(?:{upper})(?![A-Za-z])"
    )


def phrase(*forms: str) -> str:
    """Return a pattern for words that follow each other, wherever a line ends between them."""
    return r"(?i:\b(?:" + "|".join(form.replace(" ", r"[\s#\"_]+") for form in forms) + r")\b)"


WORDS = [
    # English
    ("nobody", word("nobody"), "no one, or what is missing"),
    ("somebody", word("somebody"), "a person, another user"),
    ("whoever", word("whoever"), "who, the one that"),
    ("behind", word("behind"), "after"),
    ("look", word("look", "looks", "looked", "looking"), "check, read, inspect"),
    ("on", phrase("go on", "goes on", "going on", "went on", "gone on"), "continue"),
    ("shall", word("shall"), "must, will"),
    ("so many", phrase("so many"), "this many"),
    ("is no", r"(?i:(?<!there )\bis[\s#\"]+no\b(?! longer| more))", "is not a"),
    ("reckon", "(?i:reckon)", "calculate, calendar"),
    ("aside", phrase("set aside", "sets aside", "setting aside"), "attempts exhausted"),
    ("way out", phrase("way out", "ways out"), "remedy"),
    ("moment", word("moment", "moments"), "time, datetime"),
    ("n't", r"\w[n]'t\b", "no contractions"),
    ("'", r"(?i:\b(?:it|that|there|what|let|here)'s\b)|\w'(?:re|ve|ll)\b", "no contractions"),
    ('"""', r'"""(?:Give|Say|Tell)s?\b', "Return, Yield, Write"),
    # The words of the field
    ("trouble", "(?i:trouble)", "health issue"),
    ("verb", word("verb", "verbs"), "operator action"),
    ("job", word("job", "jobs"), "bulk operation"),
    ("hold", phrase("on hold", "end of the hold", "a hold", "the hold"), "paused"),
    ("hold", phrase("(?:hold|holds|holding) (?:a|the|this|that|of a|of the) flows?"), "pause"),
    ("held", phrase("held (?:flows?|runs?)", "(?:flows?|runs?) (?:is|are) held"), "paused"),
    ("held", r"\.held\b|\bheld_|\bheld\s*[:=]\s|-held\b|\bheld, released\b", "paused"),
    ("releas", phrase(r"releas\w+ (?:a|the|this|that|of a|of the) (?:flows?|hold)"), "resume"),
    ("announce", word("announce", "announces", "announced", "announcement"), "deliver, notify"),
    ("untold", word("untold"), "undelivered"),
    ("aim", word("aim", "aims", "aimed", "aiming"), "match"),
    ("sho", word("shot", "shots", "shoot", "shoots"), "match, fire"),
    ("intake", word("intake"), "admission"),
    ("admit", word("admit", "admits", "admitted"), "admission"),
    ("keeping", r"\.keeping\b|\bkeeping\.|import keeping|class Keep", "retention"),
    ("alive", phrase("say alive", "says alive", "say that it is alive"), "heartbeat"),
    ("goodbye", "(?i:goodbye)", "deregister"),
    ("way", phrase("make way", "makes way", "making way"), "yield"),
    ("spent", phrase("spent slots?", "spent-slots?") + "|SpentSlot", "consumed slot"),
    ("runtime", r"(?i:\bthe[\s#]+runtime\b)|flowcontrol_core\.runtime", "the engine, runs"),
    ("definition", r"flowcontrol_core\.definition", "document"),
    ("definition", phrase("definitions? of (?:a|the) flows?", "flow definitions?"), "document"),
    ("authoring", word("authoring"), "flows"),
    ("jump", word("jump", "jumps", "jumped"), "go to a step"),
    ("wake_at", "wake_at", "due_at"),
    ("firing", r"\bFiring(?=\.objects|\(|:$)|import.*\bFiring\b", "SkippedFiring"),
    ("firing", r"(?<!skipped[-_ ])\bfirings\b", "skipped firings"),
    ("gettext", r"gettext(?:_lazy)?[\s]+as[\s]+(?!_\b)", "gettext or _, which makemessages finds"),
]  # fmt: skip

#: A file that may have a word: the stem, the file (or the start of its path), and the reason.
ALLOWED = {
    ("n't", "flowcontrol_core/src/flowcontrol_core/plugins/reports.py"): "a message of Django's",
}
#: What is not written by people.
GENERATED = {"docs/reference/fault-report.md": "the table that the fault campaign writes"}


@cache
def _files() -> tuple[Path, ...]:
    found = [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*")]
    found += [path for page in PAGES for path in ROOT.glob(page)]
    return tuple(sorted(path for path in found if _is_read(path)))


def _is_read(path: Path) -> bool:
    name = _name(path)
    hidden = any(part.startswith(".") for part in Path(name).parts)
    unread = hidden or name in GENERATED or "/tests/" in name or "/migrations/" in name
    return path.suffix in SUFFIXES and path.is_file() and not unread


@cache
def _lower(path: Path) -> str:
    return f"{path.name}\n{read(path)}".lower()


def _hits(stem: str, pattern: re.Pattern[str]) -> Iterator[str]:
    for path in _files():
        if stem not in _lower(path) or _is_allowed(stem, path):
            continue
        if pattern.search(path.stem.replace("-", " ")):
            yield f"{at(path, 1)}: the name of the file"
        text = read(path)
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{at(path, line)}: {text.splitlines()[line - 1].strip()}"


def _is_allowed(stem: str, path: Path) -> bool:
    return any(stem == word and _name(path).startswith(start) for word, start in ALLOWED)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@each(["stem", "pattern", "instead"], WORDS)
def test_a_word_that_had_to_go_stays_away(stem: str, pattern: str, instead: str) -> None:
    hits = list(_hits(stem, re.compile(pattern, re.MULTILINE)))
    assert not hits, f"write: {instead}\n" + "\n".join(hits)


def test_each_exception_is_needed() -> None:
    for allowed, start in ALLOWED:
        patterns = [pattern for stem, pattern, _ in WORDS if stem == allowed]
        texts = [read(path) for path in _files() if _name(path).startswith(start)]
        assert any(re.search(pattern, text) for pattern in patterns for text in texts), start
