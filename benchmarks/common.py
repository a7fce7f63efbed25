"""What every case uses: timing both sides in turn, a copy of the project, and how a result is written down."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bakeoff.plan.machine import package_version

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


@contextmanager
def awake() -> Iterator[None]:
    """Keep every core from sleeping, where Linux lets us: `/dev/cpu_dma_latency`, kernel.org's PM QoS interface.

    Threads hand work to each other hundreds of times a second, and a virtual machine may take milliseconds to wake a
    core: the same training then takes one and a half times as long or twice, from one minute to the next.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            wish = stack.enter_context(Path("/dev/cpu_dma_latency").open("wb", buffering=0))
            wish.write(struct.pack("i", 0))  # microseconds that waking may take; it holds while the file is open
        yield


def machine() -> str:
    """Processor, cores and memory, in words."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
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
        encoding="utf-8",
        timeout=7200,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, command))} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        )
    return seconds


def pipeline_command(*arguments: str, folder: Path) -> list[str]:
    """`python pipeline.py ARGUMENTS` with runs and reports below `folder`."""
    places = ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]
    return [sys.executable, str(PROJECT / "pipeline.py"), *arguments, *places]


def pipeline(*arguments: str, folder: Path) -> float:
    """Seconds that the pipeline takes with runs and reports below `folder`."""
    return run(pipeline_command(*arguments, folder=folder))


@dataclass(frozen=True)
class Turns:
    """When a command ran: begin and end of each of its turns, as `time.time` counts."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def within(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Seconds of the turns between two times."""
        return sum(max(0.0, min(last, end) - max(first, begin)) for first, last in self.spans)


def in_lock_step(commands: Mapping[str, Sequence[str]], turn_seconds: float = 1.0) -> dict[str, Turns]:
    """Run commands at the same time, in turns: one runs, with all that it started, while the others are stopped.

    Raises RuntimeError with the last lines of one that fails.
    """
    turns = {name: Turns() for name in commands}
    with ExitStack() as stack:
        outputs = {name: stack.enter_context(tempfile.TemporaryFile()) for name in commands}
        running = {}
        for name, command in commands.items():
            running[name] = psutil.Popen(command, cwd=PROJECT, stdout=outputs[name], stderr=subprocess.STDOUT)
            stack.callback(_signal, running[name], signal.SIGKILL)
            _signal(running[name], signal.SIGSTOP)
        while running:
            for name, process in list(running.items()):
                begun = time.time()
                _signal(process, signal.SIGCONT)
                with suppress(psutil.TimeoutExpired):
                    process.wait(turn_seconds)
                    del running[name]
                _signal(process, signal.SIGSTOP)
                turns[name].spans.append((begun, time.time()))
                if name not in running and process.returncode:
                    outputs[name].seek(0)
                    said = outputs[name].read().decode(errors="replace")
                    raise RuntimeError(f"{' '.join(commands[name])} ended with {process.returncode}: {said[-2000:]}")
    return turns


def _signal(process: psutil.Process, number: int) -> None:
    """Send a signal to a process and all that it started, also to what they start meanwhile."""
    reached: set[psutil.Process] = set()
    with suppress(psutil.NoSuchProcess):
        while fresh := {process, *process.children(recursive=True)} - reached:
            for each in fresh:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(number)
            reached |= fresh


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
