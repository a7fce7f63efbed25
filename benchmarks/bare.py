"""Three variants: the pipeline, from the command to the report, against a plain Keras script with the same recipe."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.common import NO_NETWORK_SET, Case, manifests, median, pipeline, run

# variant -> epochs that make the training a minute or more on two cores
VARIANTS = {"ann": 3, "simple_cnn": 6, "tutorial_cnn": 6}
ROUNDS = 1
_LIMIT = 1.05


def measure(folder: Path) -> Case:
    """Seconds of both sides from start to end, on the same 50 000 drawn pictures, the data being there already."""
    from benchmarks.common import in_turn

    request = ("--profile", "full", "--set", NO_NETWORK_SET, "--set", "threads=0")
    pipeline("--variants", "ann", *request, "--set", "epochs=0", folder=folder / "data")
    (loaded,) = (folder / "data" / "runs" / "load").iterdir()
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}
    for variant, epochs in VARIANTS.items():
        place = folder / variant
        shutil.copytree(folder / "data" / "runs" / "load", place / "runs" / "load")
        script = [sys.executable, "-m", "benchmarks.bare_script", variant, str(loaded), str(epochs)]
        ours = (*request, "--set", f"epochs={epochs}", "--variants", variant)
        sides = {
            f"{variant}, bare script": partial(run, script),
            f"{variant}, pipeline": partial(_anew, place, ours),
        }
        taken = in_turn(sides, ROUNDS)
        fit = [one["seconds"] for one in manifests(place / "runs") if one["stage"] == "train"]
        seconds |= taken | {f"{variant}, pipeline's training notebook": fit}
        bare, whole = (median(each) for each in taken.values())
        ratios[f"{variant}: whole pipeline over bare script"] = whole / bare
    return Case(
        "Against a bare script",
        "The script loads arrays, scales, builds, trains, evaluates and saves; the pipeline does the same in "
        "notebooks, with figures, tables, comparison and report. Both use all cores. The load step is there before.",
        seconds,
        ratios,
        dict.fromkeys(ratios, _LIMIT),
    )


def _anew(place: Path, request: tuple[str, ...]) -> float:
    for stage in ("preprocess", "build", "train", "evaluate", "compare"):
        shutil.rmtree(place / "runs" / stage, ignore_errors=True)
    return pipeline(*request, folder=place)
