"""The whole quick run with one job and with two: how well the cores are used, and whether the numbers are the same."""

from __future__ import annotations

from pathlib import Path

from bakeoff.store import digest_file
from benchmarks.common import NO_NETWORK_SET, Case, manifests, pipeline


def measure(folder: Path) -> Case:
    """Seconds of the steps and of their run; digests of all predictions."""
    request = ("--all", "--profile", "quick", "--set", NO_NETWORK_SET)
    seconds, predictions = {}, {}
    for jobs in (1, 2):
        place = folder / str(jobs)
        seconds[f"{jobs} jobs"] = [pipeline(*request, "--jobs", str(jobs), folder=place)]
        found = sorted((place / "runs" / "evaluate").glob("*/predictions.npz"))
        predictions[jobs] = {path.parent.name: digest_file(path) for path in found}
    steps = [one["seconds"] for one in manifests(folder / "2" / "runs")]
    seconds |= {"2 jobs, the longest step": [max(steps)], "2 jobs, all steps one after the other": [sum(steps)]}
    bound = max(sum(steps) / 2, max(steps))
    ratio = "time of the run with 2 jobs over max(sum of its steps / 2, longest step)"
    different = sum(digest != predictions[2].get(name) for name, digest in predictions[1].items())
    return Case(
        "Side by side",
        "`python pipeline.py --all --profile quick` on the built-in data, from an empty store to the report.",
        seconds,
        {
            "2 jobs over 1 job": seconds["2 jobs"][0] / seconds["1 jobs"][0],
            ratio: seconds["2 jobs"][0] / bound,
            f"predictions.npz that differ in any bit, of {len(predictions[1])}": different,
        },
        {ratio: 1.15, f"predictions.npz that differ in any bit, of {len(predictions[1])}": 0},
    )
