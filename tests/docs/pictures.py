"""Makes the pictures of the README and the docs: pages of the demo site, as a browser shows them.

``make pictures`` runs it. What the pages show depends on the hour, so no test compares the files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError

from playwright.sync_api import sync_playwright

from tests.databases import ROOT
from tests.services import chromium

PORT = 8765
ADMIN = f"http://127.0.0.1:{PORT}/admin/"
FLOWS, RUNS = f"{ADMIN}flowcontrol_core/flow/", f"{ADMIN}flowcontrol_core/flowrun/"
WIDTH = 1280
SECONDS_TO_START = 60.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A page: the list that leads to it, the name of its row there, what is clicked then."""

    name: str
    listed_in: str
    row: str
    click: str = ""
    height: int = 760
    scheme: str = "light"


PICTURES = (
    Picture("editor", FLOWS, "Order follow-up", click="text=“Order paid”", height=900),
    Picture("run", RUNS, "Ship order"),
    Picture("diagram", FLOWS, "Order follow-up", click="text=Diagram", height=1080, scheme="dark"),
)


@contextmanager
def site() -> Iterator[None]:
    """Serve the demo's site for the length of a ``with`` block."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "demo" / "main.py"), "site", f"--port={PORT}"]
        environment = os.environ | {"FLOWCONTROL_DEMO_FOLDER": folder}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            _wait_until_it_answers()
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_until_it_answers() -> None:
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            urllib.request.urlopen(ADMIN).close()
        except URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def take(browser: Any, picture: Picture) -> None:
    """Open a page and write what it shows."""
    size = {"width": WIDTH, "height": picture.height}
    context = browser.new_context(viewport=size, color_scheme=picture.scheme, locale="en-US")
    page = context.new_page()
    page.goto(f"{ADMIN}login/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("[type=submit]")
    page.goto(picture.listed_in)
    page.locator("#result_list a", has_text=re.compile(rf"^{picture.row}\b")).first.click()
    if picture.click:
        page.locator(f"#content-main >> {picture.click}").first.click()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=ROOT / "docs" / "images" / f"{picture.name}.png")
    context.close()


def main() -> None:
    with site(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for picture in PICTURES:
            take(browser, picture)
        browser.close()


if __name__ == "__main__":
    main()
