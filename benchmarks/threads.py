"""One thread or all: what each from-scratch network trains at alone, and with a second training beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.common import PROJECT, Case, in_turn, median

VARIANTS = (
    "ann",
    "simple_cnn",
    "gray_cnn",
    "gray_tuned",
    "tutorial_cnn",
    "scratch_cnn",
    "augmented_cnn",
    "batchnorm_cnn",
)
ROUNDS = 3  # a single one may fall into a slow phase of the machine
_SECONDS = 4


def measure(folder: Path) -> Case:
    """One thread, all cores, and as many trainings as there are cores with one thread each."""
    cores = len(os.sched_getaffinity(0))
    seconds: dict[str, list[float]] = {}
    ratios = {}
    for variant in VARIANTS:
        one, everything, pair = f"{variant}, 1 thread", f"{variant}, {cores} threads", f"{variant}, {cores} at once"
        sides = {
            one: partial(_together, variant, 1, 1),
            everything: partial(_together, variant, cores, 1),
            pair: partial(_together, variant, 1, cores),
        }
        seconds |= in_turn(sides, ROUNDS)
        ratios[f"{variant}: images a second with {cores} threads over 1"] = _ratio(seconds, one, everything)
        ratios[f"{variant}: {cores} trainings at once, 1 thread each, over one after the other with {cores}"] = _ratio(
            seconds, everything, pair
        )
    return Case(
        "Threads",
        "Seconds for 10 000 images in training, on synthetic images, of one training or of several at once. A variant "
        "whose own training a second thread speeds by less than a tenth has `threads: 1` in its file: alone it is as "
        "fast, and several run side by side. The others take all cores.",
        seconds,
        ratios,
    )


def _ratio(seconds: Mapping[str, list[float]], side: str, other: str) -> float:
    return median(seconds[side]) / median(seconds[other])


def _together(variant: str, threads: int, count: int) -> float:
    """Seconds for 10 000 images of `count` trainings at once, in all."""
    number = str(threads)
    settings = {"OMP_NUM_THREADS": number, "TF_NUM_INTRAOP_THREADS": number, "TF_NUM_INTEROP_THREADS": number}
    environment = os.environ | settings | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "benchmarks.fit_speed", variant, str(_SECONDS)]
    started = [
        subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        for _ in range(count)
    ]
    return 10_000 / sum(float(process.communicate(timeout=600)[0].split()[-2]) for process in started)
