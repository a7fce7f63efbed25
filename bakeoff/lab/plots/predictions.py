"""Single pictures of the evaluate page: what the network says each of them is, and how sure it is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bakeoff.lab.plots.evaluation import PLAIN, RIGHT, WRONG
from bakeoff.lab.plots.gallery import GAP, gallery, in_rows, lines_high, place, sheet, write
from bakeoff.lab.plots.words import percent, short

if TYPE_CHECKING:
    from bakeoff.lab.evaluation import Evaluation

OTHER = "#9A9A9A"
# Of single_pictures, in inches: a picture, the names beside it, its bars with their likelihoods, a bar of 100 %.
PICTURE, NAMES, BARS, FULL = 1.15, 1.2, 1.85, 1.3
SIZE = 8  # of letters, in points


def telling_positions(evaluation: Evaluation, right: int = 3, wrong: int = 2, confident: int = 3) -> np.ndarray:
    """Positions of the first right and wrong predictions and of the wrong ones that were surest, without repeats.

    The first pictures in the order of the test set where there is no right or wrong.
    """
    if not evaluation.measured:
        return np.arange(min(right + wrong + confident, len(evaluation.ids)))
    hits, misses = np.flatnonzero(evaluation.correct), np.flatnonzero(~evaluation.correct)
    surest = misses[np.argsort(-evaluation.confidence[misses], kind="stable")][:confident]
    ordinary = np.setdiff1d(misses, surest)[:wrong]
    spare = right + wrong + confident - len(surest) - len(ordinary)
    return np.concatenate([hits[:spare], ordinary, surest]).astype(np.int64)


def single_pictures(evaluation: Evaluation, positions: np.ndarray, images: np.ndarray, bars: int = 5) -> Figure:
    """Each picture (n, h, w, c) beside its likeliest labels, two pictures a row.

    A bar is the likelihood of a label: the true class in one colour, a wrong answer in another.
    """
    names = [short(name) for name in label_names(evaluation)]
    line, title = 0.17, lines_high("true", SIZE)
    across, height = PICTURE + NAMES + BARS, title + max(PICTURE, line * min(bars, len(names))) + 3 * GAP
    figure, axes = sheet(2 * across, max(1, math.ceil(len(positions) / 2)) * height)
    for number, (at, image) in enumerate(zip(positions, images, strict=False)):
        left, top = number % 2 * across + GAP, number // 2 * height + title + GAP
        place(axes, image, left, top, PICTURE)
        true = short(evaluation.class_names[evaluation.labels[at]])
        write(axes, left + PICTURE / 2, top - GAP / 2, f"true: {true}", SIZE, ha="center", va="bottom")
        _draw_likelihoods(axes, left + PICTURE + NAMES, top, line, evaluation, int(at), names, bars)
    return figure


def _draw_likelihoods(
    axes: Axes, left: float, top: float, line: float, evaluation: Evaluation, at: int, names: list[str], bars: int
) -> None:
    """A line for each of the likeliest labels: its name, a bar from `left` on, and its likelihood."""
    likeliest = np.argsort(-evaluation.probabilities[at], kind="stable")[:bars]
    likelihoods = np.nan_to_num(evaluation.probabilities[at][likeliest].astype(float))
    middles = top + line * (np.arange(len(likeliest)) + 0.5)
    colors = [_bar_color(evaluation, at, int(label), first=rank == 0) for rank, label in enumerate(likeliest)]
    axes.barh(middles, likelihoods * FULL, left=left, color=colors, height=0.75 * line)
    for label, likelihood, middle in zip(likeliest, likelihoods, middles, strict=True):
        write(axes, left - GAP, middle, names[label], SIZE - 1, ha="right", va="center")
        shown = percent(float(evaluation.probabilities[at][label]))
        write(axes, left + likelihood * FULL + GAP, middle, shown, SIZE - 1, ha="left", va="center")


def _bar_color(evaluation: Evaluation, at: int, label: int, first: bool) -> str:
    if not evaluation.measured:
        return PLAIN
    if label == evaluation.labels[at]:
        return RIGHT
    return WRONG if first else OTHER


def likelihoods(evaluation: Evaluation, positions: np.ndarray, labels: int = 1) -> pd.DataFrame:
    """The likeliest labels of single pictures with their likelihoods; where there is a right answer, whether it is."""
    names = label_names(evaluation)
    rows = []
    for at in positions:
        likeliest = np.argsort(-evaluation.probabilities[at], kind="stable")[:labels]
        said = [f"{names[label]} ({percent(float(evaluation.probabilities[at][label]))})" for label in likeliest]
        row = {"picture": evaluation.ids[at], "true class": evaluation.class_names[evaluation.labels[at]]}
        row["predicted" if evaluation.measured else "likeliest labels"] = ", ".join(said)
        rows.append({**row, "right": "yes" if evaluation.correct[at] else "no"} if evaluation.measured else row)
    return pd.DataFrame(rows)


def confident_mistakes_words(evaluation: Evaluation, sure: float = 0.9) -> str:
    """How many of the wrong answers were given with more than `sure` likelihood."""
    wrong = int((~evaluation.correct).sum())
    if wrong == 0:
        return "No test image was predicted wrong."
    bold = int((~evaluation.correct & (evaluation.confidence > sure)).sum())
    surest = percent(float(evaluation.confidence[~evaluation.correct].max()))
    text = f"Of {wrong} wrong answers, {bold} were given with a likelihood above {percent(sure, 0)}"
    return f"{text}; the surest had {surest}."


def picture_grid(evaluation: Evaluation, images: np.ndarray, columns: int = 5) -> Figure:
    """The first test images (n, h, w, c) with the true and the predicted class, wrong ones in another colour."""
    names, shown = [short(name) for name in evaluation.class_names], range(len(images))
    titles = [
        f"{names[evaluation.labels[at]]}\n{'✓' if evaluation.correct[at] else '✗'} {names[evaluation.predicted[at]]}"
        for at in shown
    ]
    colors = [RIGHT if evaluation.correct[at] else WRONG for at in shown]
    return gallery(in_rows(images, columns), in_rows(titles, columns), colors=in_rows(colors, columns))


def imagenet_names(labels: int) -> list[str]:
    """Names of ImageNet's classes from the file in the Keras cache; class numbers where it cannot be had."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        index = json.loads((home / "models" / "imagenet_class_index.json").read_text(encoding="utf-8"))
        return [index[str(at)][1].replace("_", " ") for at in range(labels)]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return [f"class {at}" for at in range(labels)]


def label_names(evaluation: Evaluation) -> list[str]:
    """Names of the columns of the probabilities."""
    return evaluation.class_names if evaluation.measured else imagenet_names(evaluation.probabilities.shape[1])
