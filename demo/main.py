"""The demo: ``main.py`` shows what flows do and checks it; ``main.py site`` serves the site."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import tempfile
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Execute the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["demo", "site"], default="demo")
    parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without one of the symbols shows a question mark.
        sys.stdout.reconfigure(errors="replace")
    if options.what == "site":
        return _serve(options.port)
    with tempfile.TemporaryDirectory(prefix="flowcontrol-demo-") as folder:
        return _present(Path(folder))


def _set_up(folder: Path) -> None:
    os.environ["FLOWCONTROL_DEMO_FOLDER"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demosite.settings"
    django.setup()


def _present(folder: Path) -> int:
    _set_up(folder)
    # A step of the story fails, which the presentation tells.
    logging.getLogger("flowcontrol").setLevel(logging.ERROR)
    # Modules that use models can be imported only now.
    from presentation import present  # noqa: PLC0415

    return present(folder)


def _serve(port: int) -> int:
    folder = Path(os.environ.get("FLOWCONTROL_DEMO_FOLDER", HERE / ".demo"))
    _set_up(folder)
    from server import serve  # noqa: PLC0415

    return serve(folder, port)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
