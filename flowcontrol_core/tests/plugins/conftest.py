"""Distributions that exist for one test only, written as an installer would leave them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class FakeSite:
    """A folder on ``sys.path`` with installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def install(
        self,
        distribution: str,
        *,
        version: str = "1.0",
        plugins: str = "",
        apps: str = "",
        requires: tuple[str, ...] = (),
        modules: dict[str, str] | None = None,
    ) -> Path:
        """Write a distribution; ``plugins`` and ``apps`` are the lines of the two groups."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = [f"Name: {distribution}", f"Version: {version}"]
        head += [f"Requires-Dist: {line}" for line in requires]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *head, ""]))
        groups = {"flowcontrol.plugins": plugins, "flowcontrol.apps": apps}
        sections = [f"[{group}]\n{lines}\n" for group, lines in groups.items() if lines]
        (info / "entry_points.txt").write_text("\n".join(sections))
        for name, source in (modules or {}).items():
            self.write(name, source)
        return info

    def write(self, module: str, source: str) -> None:
        path = self.folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """Yield an empty folder in front of ``sys.path``; forget modules ``fake_*`` after."""
    monkeypatch.delenv("FLOWCONTROL_DISABLE_PLUGINS", raising=False)
    fake = FakeSite(tmp_path / "site")
    monkeypatch.syspath_prepend(fake.folder)
    yield fake
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


@pytest.fixture
def second_site(site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    """Return a folder before that of ``site``, as that of an editable installation may be."""
    fake = FakeSite(tmp_path / "editable")
    monkeypatch.syspath_prepend(fake.folder)
    return fake
