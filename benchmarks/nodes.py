"""A thousand variants with five seeds each on 1 to 256 nodes: the real scheduler, in simulated time."""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path

from bakeoff.plan.machine import Machine
from bakeoff.plan.steps import STAGES, Name, Step
from bakeoff.run.devices import Devices
from bakeoff.run.estimates import Estimate
from bakeoff.run.schedule import Schedule
from benchmarks.common import PROJECT, Case, manifests, say
from tests.stubs import make_template

VARIANTS, SEEDS = 1000, 5
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CORES = 16  # of a node
TRAINING_CORES = 2  # those of the machine that the records come from
IMAGE_BYTES = 60_000 * 32 * 32 * 3  # CIFAR-10 as arrays, which each step of a row reads
FOLDER_BYTES = 1e9  # a second, of all nodes together: a file server behind 10 Gbit/s
_MEGABYTE = 2**20


def measure(folder: Path) -> Case:
    """Seconds of whole runs, each on so many nodes, and what keeps a larger cluster from being faster."""
    make_template(folder / "template")
    light = {each["stage"]: float(each["seconds"]) for each in manifests(folder / "template" / "runs")}
    event = _event_seconds()
    steps, seconds = _steps(_recorded(), light)
    runs = {}
    for count in NODES:
        begun = time.process_time()
        runs[count] = Simulation(steps, seconds, count * CORES, event).run()
        say(f"    {count} nodes: {runs[count].end:.0f} s, {time.process_time() - begun:.1f} s to simulate")
    first, last = runs[NODES[0]], runs[NODES[-1]]
    limits = {count: run.limit(count * CORES) for count, run in runs.items()}
    changes = [n for before, n in pairwise(NODES) if limits[n] != limits[before]]
    return Case(
        "From 1 to 256 nodes, simulated",
        f"{VARIANTS} variants with {SEEDS} seeds, {len(steps)} steps, on nodes of {CORES} cores: "
        f"bakeoff/run/schedule.py in simulated time. A training takes the seconds of one on record and "
        f"{TRAINING_CORES} cores; other steps take those of a run of simple_cnn in smoke. The command is busy for "
        f"{1000 * event:.2f} ms with each step (the case scale), one after the other; all nodes read the images, "
        f"{IMAGE_BYTES / 1e6:.0f} MB a step, from one folder that gives {FOLDER_BYTES / 1e9:g} GB/s. What limits "
        f"one node: {', '.join([limits[NODES[0]], *(f'from {n} nodes on {limits[n]}' for n in changes)])}.",
        {f"nodes: {count}": [run.end] for count, run in runs.items()},
        {
            f"{NODES[-1]} nodes, times faster than one": first.end / last.end,
            "the longest chain, in seconds": last.chain,
            "the shared folder alone, in seconds": last.reading,
            "the command alone, in seconds": last.driving,
        },
    )


@dataclass
class Simulation:
    """One run of the steps on so many cores; `end` and what follows are known after `run`."""

    steps: Sequence[Step]
    seconds: Mapping[Name, float]
    cores: int
    event_seconds: float
    end: float = 0.0
    chain: float = 0.0
    work: float = 0.0  # core seconds
    reading: float = 0.0  # seconds of the shared folder
    driving: float = 0.0  # seconds of the command
    _events: list[tuple[float, int, Step]] = field(default_factory=list)

    def run(self) -> Simulation:
        """Start what the scheduler gives, and go to the next end of a step, until all are done."""
        schedule = Schedule(Machine("tensorflow", self.cores, {}), self.cores, Devices(()), lambda: 2**60)
        schedule.add(self.steps, {name: Estimate(taken, _MEGABYTE, True) for name, taken in self.seconds.items()})
        self.chain = max(schedule.way.values())
        command = server = 0.0  # until when they are busy
        count = 0
        while True:
            while (step := schedule.start_next()) is not None:
                command += self.event_seconds
                server = max(command, server) + _bytes(step) / FOLDER_BYTES
                count += 1
                heappush(self._events, (server + self.seconds[step.name], count, step))
                self._count(step)
            if not self._events:
                return self
            self.end, _, step = heappop(self._events)
            command = max(command, self.end)
            schedule.finished(step)

    def _count(self, step: Step) -> None:
        self.work += self.seconds[step.name] * min(step.threads, self.cores)
        self.reading += _bytes(step) / FOLDER_BYTES
        self.driving += self.event_seconds

    def limit(self, cores: int) -> str:
        """Which of the bounds is the highest."""
        bounds = {
            "the cores": self.work / cores,
            "the longest chain": self.chain,
            "the shared folder": self.reading,
            "the command": self.driving,
        }
        return max(bounds, key=lambda name: bounds[name])


def _bytes(step: Step) -> int:
    return 0 if step.stage.name == "load" else IMAGE_BYTES


def _steps(training: Sequence[float], light: Mapping[str, float]) -> tuple[list[Step], dict[Name, float]]:
    """The plan: one load, a preprocessing for each recipe on record, and build, train, evaluate for each row."""
    steps = [_step("load", "all", {})]
    seconds = {steps[0].name: light["load"]}
    for number in range(len(training)):
        steps.append(_step("preprocess", f"recipe-{number}", {"load": "all"}))
        seconds[steps[-1].name] = light["preprocess"]
    for row in range(VARIANTS * SEEDS):
        recipe, inputs = row // SEEDS % len(training), {"load": "all"}
        inputs["preprocess"] = f"recipe-{recipe}"
        for stage in ("build", "train", "evaluate"):
            steps.append(_step(stage, f"row-{row}", dict(inputs)))
            seconds[steps[-1].name] = training[recipe] if stage == "train" else light[stage]
            inputs[stage] = f"row-{row}"
    return steps, seconds


def _step(stage: str, key: str, inputs: dict[str, str]) -> Step:
    threads = TRAINING_CORES if stage == "train" else 1
    return Step(STAGES[stage], {}, inputs, {}, key, key, threads=threads, variants=[key])


def _recorded() -> list[float]:
    """Seconds of the trainings on record, one a variant: the median of its seeds."""
    found: dict[str, list[float]] = {}
    for path in sorted((PROJECT / "docs" / "records").glob("*/*/results.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault(row["variant"], []).append(float(row["train_seconds"]))
    return [statistics.median(taken) for taken in found.values()]


def _event_seconds() -> float:
    """What the command's thread does for a step, as the case scale has measured it."""
    known = json.loads((PROJECT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
    return float(known["scale"]["ratios"]["an event of the scheduler, in milliseconds"]) / 1000
