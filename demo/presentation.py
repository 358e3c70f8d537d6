"""The whole story at once, with its timelines, expectations and totals."""

from __future__ import annotations

import time
from pathlib import Path

from django.db import connections

from expectations import check_all
from report import print_skipped_firings, print_summary, print_timelines
from story import START, WHOLE, play
from terminal import heading, paint
from world import build, load_flows, open_world


def present(folder: Path) -> int:
    """Play the story on a new database; return 0 if every expectation is met."""
    begun = time.perf_counter()
    build(folder)
    with open_world(START, print) as world:
        load_flows()
        heading("What people do (times in Berlin)")
        play(world, WHOLE)
        print_timelines()
        print_skipped_firings()
        heading("Expectations")
        findings = check_all()
        for finding in findings:
            print(f"  {finding.line}")
        print_summary(world, time.perf_counter() - begun)
    connections.close_all()
    wrong = sum(not finding.is_ok for finding in findings)
    print()
    if wrong:
        print(paint(f"The demo FAILED: {wrong} of {len(findings)} expectations not met.", "red"))
        return 1
    print(paint(f"The demo is OK: all {len(findings)} expectations are met.", "green"))
    return 0
