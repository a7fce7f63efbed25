"""One thread or all: what each from-scratch network trains at alone, and with a second training beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import PROJECT, Case, say

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
_SECONDS = 6


def measure(folder: Path) -> Case:
    """Images a second with one thread, with all cores, and of two trainings with one thread each."""
    cores = len(os.sched_getaffinity(0))
    seconds, ratios = {}, {}
    for variant in VARIANTS:
        one, everything = _together(variant, 1, 1), _together(variant, cores, 1)
        pair = _together(variant, 1, cores)
        for side, speed in (
            ("1 thread", one),
            (f"{cores} threads", everything),
            (f"{cores} at once, 1 thread each", pair),
        ):
            seconds[f"{variant}, {side}: 10 000 images"] = [10_000 / speed]
        ratios[f"{variant}: {cores} trainings at once, 1 thread each, over one after the other with {cores}"] = (
            pair / everything
        )
        say(f"    {variant}: {one:.0f}, {everything:.0f} and {pair:.0f} images/s")
    return Case(
        "Threads",
        "Images a second in training, on drawn pictures; the ratio is that of all images a second. A variant whose own "
        "training a second thread speeds by less than a tenth has `threads: 1` in its file: alone it is as fast, and "
        "several run side by side. The others take all cores.",
        seconds,
        ratios,
    )


def _together(variant: str, threads: int, count: int) -> float:
    """Images a second of `count` trainings at once, in all."""
    number = str(threads)
    settings = {"OMP_NUM_THREADS": number, "TF_NUM_INTRAOP_THREADS": number, "TF_NUM_INTEROP_THREADS": number}
    environment = os.environ | settings | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "benchmarks.fit_speed", variant, str(_SECONDS)]
    started = [
        subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(count)
    ]
    return sum(float(process.communicate(timeout=600)[0].split()[-2]) for process in started)
