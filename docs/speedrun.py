"""What longer and wider trainings of speedrun_cnn bring: docs/speedrun.json as a table and a figure.

The file holds measured candidates: `recipe` in words, `validation_accuracy` on the held-out training images, `pflop` of
the training's arithmetic, and `minutes` on two cores where they were measured. The test images took no part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().with_suffix(".json")
FIGURE = FILE.with_suffix(".svg")
ABOUT = (
    "Each row is one training with seed 0, scored on the {images} held-out training images with the views of the test. "
    "Minutes on two cores were measured for one of them; the others' follow from its, by the arithmetic."
)


def read(path: Path = FILE) -> dict[str, Any]:
    """The file; nothing where there is none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def rows(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row of the table for each candidate, the cheapest first."""
    pace = _minutes_a_pflop(told["candidates"])
    return [
        {
            "recipe": each["recipe"],
            "PFLOP": f"{each['pflop']:.2f}",
            "minutes on two cores": f"{each['minutes']:.0f}"
            if "minutes" in each
            else f"about {each['pflop'] * pace:.0f}",
            "validation accuracy": f"{each['validation_accuracy']:.4f}",
        }
        for each in _by_cost(told["candidates"])
    ]


def _by_cost(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(candidates, key=lambda each: each["pflop"])


def _minutes_a_pflop(candidates: Sequence[Mapping[str, Any]]) -> float:
    (measured,) = [each for each in candidates if "minutes" in each]
    return float(measured["minutes"] / measured["pflop"])


def draw(told: Mapping[str, Any], target: Path = FIGURE) -> None:
    """The figure: accuracy against minutes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    pace, candidates = _minutes_a_pflop(told["candidates"]), _by_cost(told["candidates"])
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([each["pflop"] * pace for each in candidates], [each["validation_accuracy"] for each in candidates], "o")
    for each in candidates:
        place = each["pflop"] * pace, each["validation_accuracy"]
        axes.annotate(each["recipe"], place, textcoords="offset points", xytext=(5, 4), fontsize=7)
    axes.set(xlabel="minutes on two cores, by arithmetic", ylabel="validation accuracy")
    axes.margins(x=0.25, y=0.15)
    with mpl.rc_context({"svg.hashsalt": "speedrun", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
