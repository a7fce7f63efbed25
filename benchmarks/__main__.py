"""Run the cases named on the command line, or all; write what they found to docs/benchmarks.md."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bakeoff.store import write_atomically
from benchmarks.common import PROJECT, Case, awake, say

CASES = ("kernels", "noop", "growth", "training", "bare", "threads", "scale", "jobs", "quick")  # the longest last
RESULTS, PAGE = PROJECT / "docs" / "benchmarks.json", PROJECT / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `make bench`; nothing here is typed by hand. Each case runs both sides in one go, in turn, on one machine;
figures of different cases may come from different days and do not compare. From 2026-11-22 on, the cores are kept from
sleeping meanwhile: a virtual machine may take so long to wake one that it decides what is measured.
"""


def main(names: list[str]) -> int:
    """Run cases; 1 when a limit was missed."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        say(f"There is no case {unknown[0]!r}; cases are {', '.join(CASES)}.")
        return 2
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    missed = False
    for name in names or CASES:
        say(f"Case {name}.")
        with tempfile.TemporaryDirectory(prefix="bakeoff-bench-") as folder, awake():
            case: Case = importlib.import_module(f"benchmarks.{name}").measure(Path(folder))
        say("\n".join(case.lines()))
        missed |= any(case.ratios[ratio] > limit for ratio, limit in case.limits.items())
        known[name] = case.record()
        write_atomically(RESULTS, json.dumps(known, indent=1) + "\n")
        sections = [Case(**known[each]).lines() for each in CASES if each in known]
        write_atomically(PAGE, "\n".join([_HEAD, *(line for lines in sections for line in lines)]).rstrip() + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
