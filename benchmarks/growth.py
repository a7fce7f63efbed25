"""Cost as variants grow from 1 to 64: every notebook is a stub that copies files, so all time is Bakeoff's own."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.common import Case
from tests.stubs import make_stub_project, make_template

COUNTS = (1, 8, 16, 32, 64)


def measure(folder: Path) -> Case:
    """Seconds of whole runs (fork server, steps, comparison, report) from an empty store."""
    make_template(folder / "template")
    project = make_stub_project(folder, folder / "template", max(COUNTS), real_comparison=True)
    names = [f"stub_{number}" for number in range(max(COUNTS))]
    seconds: dict[str, list[float]] = {}
    for count in COUNTS:
        begun = time.perf_counter()
        code, said = project.run(folder / str(count), names[:count])
        taken = time.perf_counter() - begun
        if code:
            raise RuntimeError(said)
        seconds[f"{count} variants"] = [taken]
        print(f"    {count} variants: {taken:.1f} s", flush=True)
    times = {count: seconds[f"{count} variants"][0] for count in COUNTS}
    ratio = "the second 32 variants over the first 32"
    return Case(
        "More variants",
        "Stub notebooks for load, preprocess, build, train and evaluate, a data seed of its own for each variant "
        "(five steps each); the comparison and the report are the real ones, the background its words alone.",
        seconds,
        {
            ratio: (times[64] - times[32]) / times[32],
            "seconds for each further variant, from 32 to 64": (times[64] - times[32]) / 32,
        },
        {ratio: 1.1},
    )
