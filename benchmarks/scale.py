"""Thirty thousand steps: planning, an event of the scheduler, nothing to do, the crate; no notebook is executed.

And reports of 250, 500 and 1 000 variants, the first 50 in the report's page and each further one on its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common import Case, say
from tests.stubs import make_stub_project, make_template

ROWS, REPORTED = 6000, (250, 500, 1000)
_GROWTH = "a variant of the last 500 in a report over one of the 250 before"
_LIMITS = {
    "plan, in seconds": 20.0,
    "plan, in gigabytes": 1.0,
    "an event of the scheduler, in milliseconds": 2.0,
    "nothing to do, in seconds": 60.0,
    "crate, in seconds": 60.0,
    _GROWTH: 1.2,
}


def measure(folder: Path) -> Case:
    """All parts of a run of 6 000 variants that share no step; reports of fewer."""
    make_template(folder / "template")
    all_rows = _parts(folder, ROWS, "--no-report")
    nothing = {name.removeprefix("nothing to do: "): value for name, value in all_rows.items() if "nothing" in name}
    ratios = {
        "plan, in seconds": all_rows["plan"],
        "plan, in gigabytes": all_rows["gigabytes"],
        "an event of the scheduler, in milliseconds": all_rows["milliseconds an event"],
        "nothing to do, in seconds": sum(nothing.values()),
        "crate, in seconds": all_rows["crate"],
        **_of_reports({count: _parts(folder, count) for count in REPORTED}),
    }
    seconds = {name: [value] for name, value in all_rows.items() if "milli" not in name and "giga" not in name}
    del seconds["steps"]
    return Case(
        "Thirty thousand steps",
        f"{ROWS} variants that share no step, {all_rows['steps']:.0f} steps; their files are links to those of one "
        "real run. An event is all that the scheduler's thread does for a step, from the end of the one before on: "
        "locks, folders, jobs, lines of progress; others publish the steps. Nothing to do: plan, check of files, "
        "table, claims, and the check of the report. Seconds are of the processor.",
        seconds,
        ratios,
        _LIMITS,
    )


def _of_reports(reports: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Seconds and memory of each report, and whether a variant more costs the same in a large one."""
    ratios: dict[str, float] = {}
    for count, found in reports.items():
        ratios |= {
            f"a report of {count} variants, written for the first time, in seconds": found["first look: report"],
            f"a report of {count} variants, when nothing changed, in seconds": found["nothing to do: report"],
            f"a report of {count} variants, in gigabytes": found["gigabytes at the end"],
        }
    steps = [(b - a, reports[b]["first look: report"] - reports[a]["first look: report"]) for a, b in pairwise(reports)]
    before, last = (seconds / count for count, seconds in steps)
    return ratios | {_GROWTH: last / before}


def _parts(folder: Path, rows: int, *options: str) -> dict[str, Any]:
    """What benchmarks/scale_store.py finds in a project of so many variants."""
    place = folder / str(rows)
    project = make_stub_project(place, folder / "template", rows, real_comparison=True)
    script = Path(__file__).with_name("scale_store.py")
    command = [sys.executable, str(script), str(folder / "template" / "runs"), str(place), *options]
    environment = os.environ | {"PYTHONPATH": str(project.root)}
    done = subprocess.run(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, encoding="utf-8", timeout=7200, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"    {rows} variants: {found}")
    return found
