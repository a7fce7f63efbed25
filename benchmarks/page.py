"""docs/benchmarks.md and the record that it is written from."""

from __future__ import annotations

import json
from typing import Any

from bakeoff.store import write_atomically
from benchmarks import gpu_page
from benchmarks.common import PROJECT, Case

CASES = (
    "kernels",
    "noop",
    "growth",
    "training",
    "bare",
    "threads",
    "scale",
    "search",
    "nodes",
    "executors",
    "jobs",
    "quick",
)  # the longest last
RESULTS, PAGE = PROJECT / "docs" / "benchmarks.json", PROJECT / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `make bench`; nothing here is typed by hand. Each case runs both sides in one go, in turn, on one machine;
figures of different cases may come from different days and do not compare. From 2026-11-22 on, the cores are kept from
sleeping meanwhile: a virtual machine may take so long to wake one that it decides what is measured.
"""


def publish(name: str, record: dict[str, Any]) -> None:
    """Keep what a case found, and write the page of all."""
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known[name] = record
    write_atomically(RESULTS, json.dumps(known, indent=1) + "\n")
    sections = [Case(**known[each]).lines() for each in CASES if each in known]
    sections += [gpu_page.lines(known["gpu"])] if "gpu" in known else []
    write_atomically(PAGE, "\n".join([_HEAD, *(line for lines in sections for line in lines)]).rstrip() + "\n")
