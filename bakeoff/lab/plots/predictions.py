"""Single pictures of the evaluate page: what the network says each of them is, and how sure it is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bakeoff.lab.plots.evaluation import PLAIN, RIGHT, WRONG, percent, short

if TYPE_CHECKING:
    from bakeoff.lab.evaluation import Evaluation

OTHER = "#9A9A9A"


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
    rows, height = max(1, math.ceil(len(positions) / 2)), 0.5 + 0.17 * min(bars, len(names))
    shape = {"width_ratios": (1, 1.5, 1, 1.5)}
    figure, grid = plt.subplots(rows, 4, figsize=(8.4, max(1.25, height) * rows), squeeze=False, gridspec_kw=shape)
    for axes in grid.flat:
        axes.axis("off")
    pairs = grid.reshape(-1, 2)
    for (left, beside), at, image in zip(pairs, positions, images, strict=False):
        draw_picture(left, image)
        left.set_title(f"true: {short(evaluation.class_names[evaluation.labels[at]])}", fontsize=8)
        _draw_likelihoods(beside, evaluation, int(at), names, bars)
    return figure


def _draw_likelihoods(axes: Axes, evaluation: Evaluation, at: int, names: list[str], bars: int) -> None:
    likeliest = np.argsort(-evaluation.probabilities[at], kind="stable")[:bars]
    likelihoods = evaluation.probabilities[at][likeliest]
    colors = [_bar_color(evaluation, at, int(label), first=rank == 0) for rank, label in enumerate(likeliest)]
    axes.axis("on")
    axes.grid(False)
    places = np.arange(len(likeliest))
    axes.barh(places, likelihoods, color=colors, height=0.75)
    for place, likelihood in zip(places, likelihoods, strict=True):
        axes.text(float(likelihood) + 0.02, float(place), percent(float(likelihood)), va="center", fontsize=7)
    axes.set_yticks(places, [names[label] for label in likeliest], fontsize=7)
    axes.set(xlim=(0, 1.28), xticks=[])
    axes.invert_yaxis()
    axes.spines["bottom"].set_visible(False)


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
    rows = max(1, math.ceil(len(images) / columns))
    figure, grid = plt.subplots(rows, columns, figsize=(1.45 * columns, 1.7 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for at, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):
        draw_picture(axes, image)
        true, predicted = (short(evaluation.class_names[k]) for k in (evaluation.labels[at], evaluation.predicted[at]))
        right = bool(evaluation.correct[at])
        axes.set_title(f"{true}\n{'✓' if right else '✗'} {predicted}", fontsize=8, color=RIGHT if right else WRONG)
    return figure


def draw_picture(axes: Axes, image: np.ndarray) -> None:
    """One uint8 picture (h, w, c), gray when it has one channel, without axes."""
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")


def imagenet_names(labels: int) -> list[str]:
    """Names of ImageNet's classes from the file in the Keras cache; class numbers where it cannot be had."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        index = json.loads((home / "models" / "imagenet_class_index.json").read_text())
        return [index[str(at)][1].replace("_", " ") for at in range(labels)]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return [f"class {at}" for at in range(labels)]


def label_names(evaluation: Evaluation) -> list[str]:
    """Names of the columns of the probabilities."""
    return evaluation.class_names if evaluation.measured else imagenet_names(evaluation.probabilities.shape[1])
