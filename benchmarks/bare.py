"""Three variants: the pipeline, from the command to the report, against a plain Keras script with the same recipe."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.common import NO_NETWORK_SET, Case, in_turn, median, pipeline, run

# variant -> epochs that make the training a minute or more on two cores
VARIANTS = {"ann": 2, "simple_cnn": 6, "tutorial_cnn": 11}
ROUNDS = 3  # fewer say little on a machine whose speed changes from minute to minute
_LIMIT = 1.05


def measure(folder: Path) -> Case:
    """Seconds of both sides from start to end, and of training alone; the data are there already."""
    request = ("--profile", "full", "--set", NO_NETWORK_SET, "--set", "threads=0")
    pipeline("--variants", "ann", *request, "--set", "epochs=0", folder=folder / "data")
    (loaded,) = (folder / "data" / "runs" / "load").iterdir()
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, float] = {}
    limits: dict[str, float] = {}
    for variant, epochs in VARIANTS.items():
        place = folder / variant
        shutil.copytree(folder / "data" / "runs" / "load", place / "runs" / "load")
        script = [sys.executable, "-m", "benchmarks.bare_script", variant, str(loaded), str(epochs)]
        ours = (*request, "--set", f"epochs={epochs}", "--variants", variant)
        trained: dict[str, list[float]] = {"script": [], "pipeline": []}
        sides = {
            f"{variant}, bare script": partial(_script, script, loaded, trained["script"]),
            f"{variant}, pipeline": partial(_anew, place, ours, trained["pipeline"]),
        }
        whole = in_turn(sides, ROUNDS)
        seconds |= whole | {f"{variant}, {side}: training alone": taken for side, taken in trained.items()}
        training = f"{variant}: training in the pipeline over `fit` in the bare script"
        ratios[training] = median(trained["pipeline"]) / median(trained["script"])
        limits[training] = _LIMIT
        bare, pipelined = (median(each) for each in whole.values())
        ratios[f"{variant}: seconds that the pipeline adds in all, for notebooks, figures and reports"] = (
            pipelined - bare
        )
    return Case(
        "Against a bare script",
        "The script loads arrays, scales, builds, trains, evaluates and saves; the pipeline does the same in "
        "notebooks, with figures, tables, background, comparison, HTML and PDF. Both use all cores and the same "
        "50 000 drawn pictures. The load step is there before.",
        seconds,
        ratios,
        limits,
    )


def _script(command: list[str], loaded: Path, trained: list[float]) -> float:
    taken = run(command)
    trained.append(float((loaded / "seconds.txt").read_text(encoding="utf-8")))
    return taken


def _anew(place: Path, request: tuple[str, ...], trained: list[float]) -> float:
    for stage in ("preprocess", "build", "train", "evaluate", "background", "compare"):
        shutil.rmtree(place / "runs" / stage, ignore_errors=True)
    taken = pipeline(*request, folder=place)
    (summary,) = (place / "runs" / "train").glob("*/training.json")
    trained.append(json.loads(summary.read_text(encoding="utf-8"))["train_seconds"])
    return taken
