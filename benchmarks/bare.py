"""Three variants: the pipeline, from the command to the report, against a plain Keras script with the same recipe."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common import NO_NETWORK_SET, Case, Turns, in_lock_step, median, pipeline, pipeline_command, say

# variant -> epochs that make the training a minute or more on two cores
VARIANTS = {"ann": 2, "simple_cnn": 6, "tutorial_cnn": 11}
ROUNDS = 3
_SIDES, _TRAINING = ("bare script", "pipeline"), ": training alone"
_LIMIT = 1.05


def measure(folder: Path) -> Case:
    """Seconds of both sides from start to end, and of training alone; the data are there already."""
    request = ("--profile", "full", "--set", NO_NETWORK_SET, "--set", "threads=0")
    pipeline("--variants", "ann", *request, "--set", "epochs=0", folder=folder / "data")
    (loaded,) = (folder / "data" / "runs" / "load").iterdir()
    seconds: dict[str, list[float]] = {}
    for variant, epochs in VARIANTS.items():
        place = folder / variant
        script = [sys.executable, "-m", "benchmarks.bare_script", variant, str(loaded), str(epochs)]
        ours = pipeline_command(*request, "--set", f"epochs={epochs}", "--variants", variant, folder=place)
        names = [f"{variant}, {side}" for side in _SIDES]
        seconds |= {name: [] for name in [*names, *(name + _TRAINING for name in names)]}
        for _ in range(ROUNDS):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder / "data" / "runs" / "load", place / "runs" / "load")
            turns = in_lock_step(dict(zip(names, (script, ours), strict=True)))
            (summary,) = (place / "runs" / "train").glob("*/training.json")
            trained = json.loads(summary.read_text(encoding="utf-8"))["train_seconds"]
            fitted = loaded / "seconds.txt"
            _add(seconds, names[0], turns[names[0]], fitted, float(fitted.read_text(encoding="utf-8")))
            _add(seconds, names[1], turns[names[1]], summary.with_name("history.csv"), trained)
    ratios = _ratios(seconds)
    return Case(
        "Against a bare script",
        "The script loads arrays, scales, builds, trains, evaluates and saves; the pipeline does the same in "
        "notebooks, with figures, tables, background, comparison, HTML and PDF. Both use all cores and the same "
        "50 000 synthetic images. The load step is there before. Both run at the same time, in turns of a second while "
        "the other is stopped, and each is charged its own turns: from one minute to the next, the speed of the "
        "machine changes by more than what is measured.",
        seconds,
        ratios,
        dict.fromkeys(ratios, _LIMIT),
    )


def _ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    ratios = {}
    for variant in VARIANTS:
        script, ours = (f"{variant}, {side}" for side in _SIDES)
        for part, name in ((_TRAINING, "training in the pipeline over `fit` in the script"), ("", "all over all")):
            ratios[f"{variant}: {name}"] = median(seconds[ours + part]) / median(seconds[script + part])
    return ratios


def _add(taken: Mapping[str, list[float]], name: str, turns: Turns, last_written: Path, seconds: float) -> None:
    """Note a side's own time, in all and in the training, which took `seconds` and ended when the file was written."""
    taken[name].append(turns.within())
    end = last_written.stat().st_mtime
    taken[name + _TRAINING].append(turns.within(end - seconds, end))
    say(f"    {name}: {taken[name][-1]:.2f} s, training {taken[name + _TRAINING][-1]:.2f} s")
