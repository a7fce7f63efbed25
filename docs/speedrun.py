"""What each minute of speedrun_cnn brings, from its trainings on record: a table and a figure in docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from bakeoff.claims.evidence import Run

VARIANT = "speedrun_cnn"
FIGURE = Path(__file__).resolve().with_suffix(".svg")
ABOUT = (
    "0.950 on the held-out training images was wanted. One schedule is on record, too few to compare schedules: this "
    "is how far its trainings ({count}, on {machine}) have come after each part of their time. A shorter one would "
    "end higher than this one is at that time, since the learning rate falls until the last step."
)
_STEPS = 6  # rows of the table


def rows(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The mean over trainings of one schedule at every sixth part of it, and at its end with the views of the test."""
    epochs = max(runs[0].history)
    shown = sorted({round(epochs * part / _STEPS) for part in range(1, _STEPS + 1)} - {0})
    found = [_row(runs, each, f"{each}", [run.at("validation_accuracy", each) for run in runs]) for each in shown]
    viewed = [run.file("evaluate", "metrics.json")["validation_accuracy"] for run in runs]
    return [*found, _row(runs, epochs, f"{epochs}, with the test's views", viewed)] if all(viewed) else found


def _row(runs: Sequence[Run], epoch: int, name: str, accuracies: Sequence[float]) -> dict[str, str]:
    operations = 3 * runs[0].number("gflop_per_image") * runs[0].number("train_images") * epoch  # forward, twice back
    return {
        "epochs": name,
        "PFLOP": f"{operations / 1e6:.2f}",
        "minutes": f"{fmean(minutes(run)[epoch - 1] for run in runs):.2f}",
        "validation accuracy": f"{fmean(accuracies):.4f}",
    }


def minutes(run: Run) -> list[float]:
    """From the beginning of a training to the end of each of its epochs."""
    return [seconds / 60 for seconds in accumulate(run.at("seconds", epoch) for epoch in sorted(run.history))]


def draw(runs: Sequence[Run], target: Path = FIGURE) -> None:
    """The figure: accuracy against minutes, a line a training."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        accuracies = [run.at("validation_accuracy", epoch) for epoch in sorted(run.history)]
        axes.plot(minutes(run), accuracies, "o-", markersize=3, label=f"seed {run.row['seed']}")
    axes.set(xlabel="minutes of training", ylabel="validation accuracy")
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "speedrun", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
