"""Single test images of the evaluate page, with what the network predicts and how confident it is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bakeoff.lab.plots.evaluation import MOST_ANNOTATED, RIGHT, WRONG
from bakeoff.lab.plots.gallery import gallery, in_rows
from bakeoff.lab.plots.words import percent, short, text

if TYPE_CHECKING:
    from bakeoff.lab.evaluation import Evaluation

LONGEST_NAME = 14  # letters beside a probability


def telling_positions(evaluation: Evaluation, right: int = 3, wrong: int = 2, confident: int = 3) -> np.ndarray:
    """Positions of the first right and wrong predictions and of the most confident wrong ones, without repeats.

    The first images in the order of the test set where there is no right or wrong.
    """
    if not evaluation.measured:
        return np.arange(min(right + wrong + confident, len(evaluation.ids)))
    hits, misses = np.flatnonzero(evaluation.correct), np.flatnonzero(~evaluation.correct)
    surest = misses[np.argsort(-evaluation.confidence[misses], kind="stable")][:confident]
    ordinary = np.setdiff1d(misses, surest)[:wrong]
    spare = right + wrong + confident - len(surest) - len(ordinary)
    return np.concatenate([hits[:spare], ordinary, surest]).astype(np.int64)


def likeliest(evaluation: Evaluation, at: int, most: int) -> list[tuple[str, str]]:
    """The classes that are most probable for one image, and their predicted probabilities in percent."""
    probabilities, names = evaluation.probabilities[at], label_names(evaluation)
    order = np.argsort(-probabilities, kind="stable")[:most]
    return [(names[label], percent(float(probabilities[label]))) for label in order]


def examples(evaluation: Evaluation, positions: np.ndarray, images: np.ndarray, most: int = 3) -> Figure:
    """Images (n, h, w, c) in rows of four, each below its true class and its likeliest classes."""
    titles = []
    for at in positions:
        lines = [f"{short(name, LONGEST_NAME)} {share}" for name, share in likeliest(evaluation, int(at), most)]
        true = short(evaluation.class_names[evaluation.labels[at]], LONGEST_NAME)
        titles.append("\n".join([f"true: {true}", f"{_mark(evaluation, at)}{lines[0]}", *lines[1:]]))
    colors = [_color(evaluation, at) for at in positions]
    return gallery(in_rows(images, 4), in_rows(titles, 4), colors=in_rows(colors, 4), side=1.3, size=7)


def image_grid(evaluation: Evaluation, images: np.ndarray, columns: int = 5) -> Figure:
    """The first test images (n, h, w, c) with the true and the predicted class, wrong ones in another colour."""
    names, shown = [short(name) for name in evaluation.class_names], range(len(images))
    titles = [
        f"{names[evaluation.labels[at]]}\n{_mark(evaluation, at)}{names[evaluation.predicted[at]]}" for at in shown
    ]
    colors = in_rows([_color(evaluation, at) for at in shown], columns)
    return gallery(in_rows(images, columns), in_rows(titles, columns), colors=colors, side=0.8, size=7)


def _mark(evaluation: Evaluation, at: int) -> str:
    return ("✓ " if evaluation.correct[at] else "✗ ") if evaluation.measured else ""


def _color(evaluation: Evaluation, at: int) -> str:
    return (RIGHT if evaluation.correct[at] else WRONG) if evaluation.measured else "black"


def examples_words(evaluation: Evaluation, positions: Sequence[int] | np.ndarray, most: int = 3) -> str:
    """What the images of `examples` show, one after the other."""
    shown = []
    for at in positions:
        classes = ", ".join(f"{text(name)} {share}" for name, share in likeliest(evaluation, int(at), most))
        shown.append(f"{text(evaluation.class_names[evaluation.labels[at]])}: {classes}")
    return f"True class and likeliest classes of {len(shown)} images. {'; '.join(shown)}."


def probability_rows(evaluation: Evaluation, images: int = 8) -> pd.DataFrame:
    """Rows of predicted probabilities beside the true labels: a column a class, or the likeliest of many."""
    shown = range(min(images, len(evaluation.ids)))
    frame = pd.DataFrame({"image": evaluation.ids[:images]})
    frame["true class"] = [evaluation.class_names[evaluation.labels[at]] for at in shown]
    names = label_names(evaluation)
    if len(names) > MOST_ANNOTATED:
        likely = [", ".join(f"{name} ({share})" for name, share in likeliest(evaluation, at, 3)) for at in shown]
        return frame.assign(**{"likeliest classes": likely})
    columns = pd.DataFrame(evaluation.probabilities[:images].astype(float), columns=names)
    return pd.concat([frame, columns], axis=1)


def confident_mistakes_words(evaluation: Evaluation, sure: float = 0.9) -> str:
    """How many of the wrong predictions had a confidence above `sure`."""
    wrong = int((~evaluation.correct).sum())
    if wrong == 0:
        return "No test image was predicted wrong."
    bold = int((~evaluation.correct & (evaluation.confidence > sure)).sum())
    surest = percent(float(evaluation.confidence[~evaluation.correct].max()))
    words = f"Of {wrong} wrong predictions, {bold} had a confidence above {percent(sure, 0)}"
    return f"{words}; the highest was {surest}."


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
