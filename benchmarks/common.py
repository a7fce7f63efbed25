"""What every case uses: timing both sides in turn, a copy of the project, and how a result is written down."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bakeoff.resolve import package_version

PROJECT = Path(__file__).resolve().parent.parent
NO_NETWORK_SET = "dataset=shapes10"  # the built-in data: no download, the same everywhere


@dataclass(frozen=True)
class Case:
    """What a case found. `seconds`: side -> its timings, in the order taken; `ratios`: what they say, in words."""

    title: str
    setting: str
    seconds: Mapping[str, Sequence[float]]
    ratios: Mapping[str, float]
    limits: Mapping[str, float] = field(default_factory=dict)  # ratio -> what it must not exceed
    note: str = ""
    machine: str = field(default_factory=lambda: machine())
    versions: str = field(default_factory=lambda: versions())
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    def lines(self) -> list[str]:
        """The case as a section of docs/benchmarks.md."""
        text = [
            f"## {self.title}",
            "",
            self.setting,
            "",
            "| side | median | lowest to highest | runs |",
            "|---|---|---|---|",
        ]
        for side, taken in self.seconds.items():
            low, high = min(taken), max(taken)
            text.append(f"| {side} | {statistics.median(taken):.2f} s | {low:.2f} to {high:.2f} s | {len(taken)} |")
        text += ["", *(f"- {name}: **{value:.3f}**{self._limit(name)}" for name, value in self.ratios.items())]
        text += ["", self.note] if self.note else []
        return [*text, "", f"{self.machine}; {self.versions}; {self.date}.", ""]

    def _limit(self, name: str) -> str:
        if name not in self.limits:
            return ""
        kept = "kept" if self.ratios[name] <= self.limits[name] else "MISSED"
        return f" (at most {self.limits[name]:g}: {kept})"

    def record(self) -> dict[str, Any]:
        """The case as JSON holds it."""
        return asdict(self)


# Linux shares a core between sessions first (autogroups): within its own alone, a loop's low priority would not count
# against a kernel, which leads a session of its own.
_LOOP = """import os, pathlib
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
group = pathlib.Path("/proc/self/autogroup")
if group.exists():
    group.write_text("19")
while os.getppid() > 1:
    pass
"""


@contextmanager
def awake() -> Iterator[None]:
    """Keep every core from sleeping, by a loop of the lowest priority there is, which gives way to anything.

    Threads hand work to each other hundreds of times a second, and a virtual machine may take milliseconds to wake a
    core: the same training then takes one and a half times as long or twice, from one minute to the next.
    """
    loops = []
    if hasattr(os, "SCHED_IDLE"):
        loops = [
            subprocess.Popen([sys.executable, "-c", _LOOP], start_new_session=True) for _ in os.sched_getaffinity(0)
        ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def machine() -> str:
    """Processor, cores and memory, in words."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    import psutil

    return f"{len(os.sched_getaffinity(0))} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GiB"


def versions() -> str:
    """Python and the packages that decide speed."""
    names = ("tensorflow", "keras", "papermill", "nbclient")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {package_version(name)}" for name in names)])


def run(command: Sequence[str], folder: Path = PROJECT, environment: Mapping[str, str] | None = None) -> float:
    """Run a command to its end; its seconds. Raises RuntimeError with its last lines when it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, command))} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        )
    return seconds


def pipeline(*arguments: str, folder: Path) -> float:
    """Seconds of `python pipeline.py ARGUMENTS` with runs and reports below `folder`."""
    places = ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]
    return run([sys.executable, str(PROJECT / "pipeline.py"), *arguments, *places])


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Time the sides one after the other, `rounds` times, so that what the machine does besides hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            taken[name].append(sides[name]())
            say(f"    {name}: {taken[name][-1]:.2f} s")
    return taken


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def manifests(runs: Path) -> list[dict[str, Any]]:
    """step.json of every step below `runs`."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(runs.glob("*/*/step.json"))]
