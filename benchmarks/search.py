"""The trials of a search one after the other and side by side: the same store but for the trials, in turn."""

from __future__ import annotations

import csv
import json
import shutil
from functools import partial
from pathlib import Path

from bakeoff.store import MANIFEST
from benchmarks.common import NO_NETWORK_SET, Case, in_turn, median, pipeline

POINTS, EPOCHS, IMAGES, ROUNDS = 8, 2, 4000, 3
_SETTINGS = (f"search_trials={POINTS}", f"search_epochs={EPOCHS}", f"max_train_examples={IMAGES}", NO_NETWORK_SET)
_REQUEST = ("--variants", "gray_grid", "--profile", "quick", "--no-pdf", *(f"--set={each}" for each in _SETTINGS))


def measure(folder: Path) -> Case:
    """Both sides, and whether they found the same."""
    pipeline(*_REQUEST, folder=folder)
    found: list[list[list[str]]] = []
    one, two, all_cores = "one after the other", "two at once", "one after the other, two threads each"
    sides = {
        one: partial(_trials, folder, 1, 1, found),
        two: partial(_trials, folder, 2, 1, found),
        all_cores: partial(_trials, folder, 1, 2, []),
    }
    seconds = in_turn(sides, ROUNDS)
    different = "searches that found anything else"
    ratios = {f"{two} over {each}": median(seconds[two]) / median(seconds[each]) for each in (one, all_cores)}
    ratios[different] = sum(each != found[0] for each in found)
    return Case(
        "Trials of a search",
        f"{POINTS} points of gray_grid, {EPOCHS} epochs of at most {IMAGES} drawn images, each on one thread where no "
        "other number stands: from the beginning of the first trial to the end of the last, `--jobs 1` and `--jobs 2`.",
        seconds,
        ratios,
        {f"{two} over {one}": 0.6, different: 0},
    )


def _trials(folder: Path, jobs: int, threads: int, found: list[list[list[str]]]) -> float:
    """Seconds that the trials take when they are made anew."""
    for stage in ("trial", "search"):
        shutil.rmtree(folder / "runs" / stage)
    pipeline(*_REQUEST, f"--set=threads={threads}", "--jobs", str(jobs), folder=folder)
    (table,) = (folder / "runs" / "search").glob("*/trials.csv")
    with table.open(newline="", encoding="utf-8") as stream:
        found.append([[text for name, text in row.items() if name != "seconds"] for row in csv.DictReader(stream)])
    ends = {path.stat().st_mtime: path for path in (folder / "runs" / "trial").glob(f"*/{MANIFEST}")}
    begun = [end - json.loads(path.read_text(encoding="utf-8"))["seconds"] for end, path in ends.items()]
    return max(ends) - min(begun)
