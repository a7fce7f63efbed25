"""Inside training: three networks against the machine's own limit, and what the settings that are parameters cost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import PROJECT, Case, say

VARIANTS = ("simple_cnn", "batchnorm_cnn", "speedrun_cnn")
SETTINGS = {
    "as it stands": (),
    "steps_per_execution 10": ("steps_per_execution=10",),
    "XLA": ("jit_compile=true",),
    "mixed_bfloat16": ("precision=mixed_bfloat16",),
}
_SECONDS = 10
_LIMIT = """
import time, numpy, tensorflow as tf
images, kernel = tf.random.normal((256, 32, 32, 128)), tf.random.normal((3, 3, 128, 128))
matrix = tf.random.normal((4096, 4096))
def fastest(work, gflop):
    work()
    taken = []
    for _ in range(7):
        begun = time.perf_counter(); work().numpy(); taken.append(time.perf_counter() - begun)
    return gflop / min(taken)
print(fastest(lambda: tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, 'SAME')), 2 * 256 * 32 * 32 * 128 * 128 * 9 / 1e9),
      fastest(lambda: tf.reduce_sum(matrix @ matrix), 2 * 4096**3 / 1e9))
"""


def measure(folder: Path) -> Case:
    """Images a second of each network and setting, with all cores; GFLOP/s beside those of a large product."""
    convolution, product = (float(word) for word in _ask(["-c", _LIMIT]))
    say(f"    limit: {convolution:.0f} GFLOP/s in a convolution, {product:.0f} in a matrix product")
    seconds, ratios = {}, {}
    for variant in VARIANTS:
        for name, settings in SETTINGS.items():
            speed, gflop = map(float, _ask(["-m", "benchmarks.fit_speed", variant, str(_SECONDS), *settings])[-2:])
            seconds[f"{variant}, {name}: 10 000 images"] = [10_000 / speed]
            say(f"    {variant}, {name}: {speed:.0f} images/s, {speed * gflop:.0f} GFLOP/s")
            if not settings:
                ratios[f"{variant}: GFLOP/s over those of a large convolution"] = speed * gflop / convolution
    ratios |= {"large convolution, GFLOP/s": convolution, "large matrix product, GFLOP/s": product}
    return Case(
        "Inside training",
        "Training on synthetic images with all cores: the parameters as they stand, and one of them changed. "
        "The arithmetic of a step is counted as three forward passes.",
        seconds,
        ratios,
        note=" ".join(_fastest(variant, seconds) for variant in VARIANTS),
    )


def _fastest(variant: str, seconds: dict[str, list[float]]) -> str:
    taken = {name: seconds[f"{variant}, {name}: 10 000 images"][0] for name in SETTINGS}
    best = min(taken, key=lambda name: taken[name])
    return f"{variant} is fastest {best}, {taken['as it stands'] / taken[best]:.2f} times the speed as it stands."


def _ask(arguments: list[str]) -> list[str]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=900,
        check=True,
    )
    return done.stdout.split()
