"""What Ray costs beside worker processes: the same stub steps by both on this machine, after Ray's start."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bakeoff.errors import RequestError
from benchmarks.common import PROJECT, Case, in_turn, median
from tests.stubs import LIGHT, StubProject, make_stub_project, make_template

ROUNDS = 5
VARIANTS = 12  # of five steps each
PYTHON = PROJECT / ".venv.executors" / "bin" / "python"


def measure(folder: Path) -> Case:
    """Seconds from the first step to the last, by either, and those of Ray's start."""
    if not PYTHON.exists():
        raise RequestError("the case executors needs Ray's environment: run make executors")
    make_template(folder / "template")
    project = make_stub_project(folder, folder / "template", VARIANTS)
    starts: list[float] = []

    def ray() -> float:
        start, steps = _phases(project, folder / f"ray-{len(starts)}", ("--executor", "ray"))
        starts.append(start)
        return steps

    def local() -> float:
        return _phases(project, folder / f"local-{time.time_ns()}", ())[1]

    seconds = in_turn({"worker processes": local, "Ray, after its start": ray}, ROUNDS)
    own, theirs = (median(taken) for taken in seconds.values())
    ratio = "Ray over worker processes"
    return Case(
        "Executors",
        f"{5 * VARIANTS} steps of stub notebooks that copy files, from the first to the last, on "
        f"{len(os.sched_getaffinity(0))} cores; either side starts its workers and fork servers meanwhile.",
        {**seconds, "Ray's start": starts},
        {ratio: theirs / own},
        {ratio: 1.25},
        f"Load of the machine at the end (1 minute): {os.getloadavg()[0]:.1f}.",
    )


def _phases(project: StubProject, folder: Path, options: Sequence[str]) -> tuple[float, float]:
    """Seconds until the executor is ready, and from then on until all steps are made."""
    names = [f"stub_{number}" for number in range(VARIANTS)]
    command = [str(PYTHON), *project.command(folder, names, "--no-pdf", *options)[1:]]
    ready = " cores." if options else " to run"
    moments: dict[str, float] = {}
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=os.environ | LIGHT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            for sign in (" to run", ready, "Comparing"):
                if sign in line:
                    moments.setdefault(sign, time.perf_counter())
    if process.returncode:
        raise RuntimeError("".join(lines)[-2000:])
    return moments[ready] - moments[" to run"], moments["Comparing"] - moments[ready]
