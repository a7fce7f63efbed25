"""Figures, tables and sentences of the evaluate page: what one network gets right, what it misses, how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab import statistics
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, listed, percent, short, text, whole
from bakeoff.lab.results import STAND_IN

if TYPE_CHECKING:
    from bakeoff.lab.evaluation import Evaluation

PLAIN, WRONG, RIGHT = COLORS[0], COLORS[1], COLORS[2]
MOST_ANNOTATED = 12  # classes; a confusion matrix of more shows colours without counts
MOST_TICKS = 50
ROUNDING = 1e-3  # of a likelihood, between machines or devices; on one machine there is none
MOST_NAMED = 20  # classes in a sentence


def headline(evaluation: Evaluation) -> str:
    """The result in a sentence or two, and every reason to doubt it."""
    metrics = evaluation.metrics
    if not evaluation.measured:
        return nothing_to_measure(evaluation, "no accuracy") + _doubts(metrics)
    interval = f"{percent(metrics['accuracy_low'])} to {percent(metrics['accuracy_high'])}"
    images, hits = metrics["test_images"], int(evaluation.correct.sum())
    words = f"**Test accuracy {percent(metrics['test_accuracy'])}** (95 % interval {interval}): "
    words += f"{whole(hits)} of {count(images, 'test image')} right."
    if metrics["task"] == "binary":
        words += f" The balanced accuracy, the mean over both kinds, is {percent(metrics['balanced_accuracy'])}."
    guess = _largest_class_share(evaluation)
    if metrics["test_accuracy"] <= guess:
        words += f" Always naming the most frequent class would score {percent(guess)}."
    return words + _doubts(metrics)


def _largest_class_share(evaluation: Evaluation) -> float:
    return float(np.bincount(evaluation.labels).max() / len(evaluation.labels)) if len(evaluation.labels) else 0.0


def _doubts(metrics: Mapping[str, Any]) -> str:
    doubts = ""
    if metrics["dataset"] == STAND_IN:
        doubts += f" The pictures are the **stand-in data** `{STAND_IN}`: no source's figure can be compared with this."
    if metrics["weights"] == "random":
        doubts += " The base has **random weights in place of ImageNet's**, so this says nothing about transfer."
    if 0 < metrics["test_images"] < metrics["test_images_available"]:
        doubts += (
            f" Only the first {metrics['test_images']} of {metrics['test_images_available']} test images were used."
        )
    return doubts


def nothing_to_measure(evaluation: Evaluation, what: str) -> str:
    """Why a section has no numbers: the training diverged, or the network's labels are not the classes of the data."""
    diverged = evaluation.metrics["diverged_epoch"]
    if diverged is not None:
        return f"There is nothing to measure here, {what}: **the training diverged** at epoch {diverged}, so the" + (
            " network's answers are not numbers."
        )
    labels = evaluation.probabilities.shape[1]
    words = f"There is nothing to measure here, {what}: the network answers with {labels} labels of its own"
    return f"{words}, not with the data's classes."


def measures(evaluation: Evaluation, published: Mapping[str, Any]) -> pd.DataFrame:
    """Every measure of the test set, with the source's figure beside it where it prints one.

    No differences: whether the two can be compared at all is for the audit of the claims to say.
    """
    metrics = evaluation.metrics
    smoothing = metrics["label_smoothing"]
    loss = str(metrics["loss_name"]).replace("_", " ") + (f", labels smoothed by {smoothing:g}" if smoothing else "")
    names = {
        "test_accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "top_k_accuracy": f"top-{metrics['top_k']} accuracy",
        "test_loss": f"loss ({loss})",
        "expected_calibration_error": "expected calibration error",
        "validation_accuracy": "accuracy on validation images, with the same views",
    }
    rows = [(name, metrics[key], published.get(key)) for key, name in names.items() if metrics.get(key) is not None]
    frame = pd.DataFrame(
        {
            "measure": [name for name, _, _ in rows],
            "here": [f"{ours:.4f}" for _, ours, _ in rows],
            "source": ["" if theirs is None else f"{theirs:.4f}" for _, _, theirs in rows],
        }
    )
    return frame if (frame["source"] != "").any() else frame[["measure", "here"]]


def class_report(evaluation: Evaluation) -> pd.DataFrame:
    """Precision, recall, F1 and number of test images by class."""
    frame = pd.DataFrame(evaluation.metrics["per_class"])
    return frame.rename(columns={"class_name": "class", "f1": "F1", "support": "test images"})


def class_words(evaluation: Evaluation) -> str:
    """Which classes are found most and least often, and which are never predicted."""
    report = pd.DataFrame(evaluation.metrics["per_class"])
    tested = report[report["support"] > 0].sort_values("recall")
    least, most = tested.iloc[0], tested.iloc[-1]
    words = f"Of the images of {text(most['class_name'])}, {percent(most['recall'])} are found; "
    words += f"of {text(least['class_name'])}, {percent(least['recall'])}."
    if most["recall"] == least["recall"]:
        words = f"Of the images of every class, {percent(most['recall'])} are found."
    never = [text(name) for at, name in enumerate(evaluation.class_names) if not (evaluation.predicted == at).any()]
    return words + (f" Never predicted: {listed(never, MOST_NAMED)}." if never else "")


def confusion_counts(evaluation: Evaluation) -> np.ndarray:
    """Images by true class (rows) and predicted class (columns), (k, k) int64."""
    classes = len(evaluation.class_names)
    cells = evaluation.labels * classes + evaluation.predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def confusion(evaluation: Evaluation) -> Figure:
    """The confusion matrix: colour is the share of the true class; counts are written where there is room."""
    counts = confusion_counts(evaluation)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(counts)
    side = min(9.0, max(3.6, 0.42 * classes + 1.4))
    figure, axes = plt.subplots(figsize=(side + 0.8, side))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= MOST_ANNOTATED:
        for (row, column), images in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(images), ha="center", va="center", color=color, fontsize=8)
    ticks = np.arange(0, classes, math.ceil(classes / MOST_TICKS))
    names = [short(evaluation.class_names[at]) for at in ticks]
    axes.set_xticks(ticks, names, rotation=90 if classes > 4 else 0, fontsize=6 if classes > 20 else 8)
    axes.set_yticks(ticks, names, fontsize=6 if classes > 20 else 8)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def confusion_words(evaluation: Evaluation, pairs: int = 3) -> str:
    """The most frequent confusions."""
    counts = confusion_counts(evaluation)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:pairs]
    cells = [divmod(int(cell), len(counts)) for cell in order if counts.flat[cell] > 0]
    if not cells:
        return "No test image was confused with another class."
    names = [text(name) for name in evaluation.class_names]
    words = [f"{names[true]} taken for {names[taken]} ({counts[true, taken]})" for true, taken in cells]
    return f"Most frequent {'confusion' if len(words) == 1 else 'confusions'}, in images: {', '.join(words)}."


def reliability(evaluation: Evaluation, bins: int = 15) -> Figure:
    """Accuracy against stated likelihood, in bins, above the number of images in each bin."""
    binned = statistics.reliability(evaluation.probabilities, evaluation.labels, bins)
    filled, width = binned.counts > 0, 1 / bins
    centres = binned.edges[:-1] + width / 2
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(4.8, 4.6), sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    upper.bar(centres[filled], binned.accuracy[filled], width=width * 0.9, color=PLAIN, alpha=0.75, label="accuracy")
    upper.plot(binned.confidence[filled], binned.accuracy[filled], "o", color="black", markersize=3)
    upper.plot([0, 1], [0, 1], "--", color=WRONG, label="as sure as right")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    upper.legend(loc="upper left")
    lower.bar(centres, binned.counts, width=width * 0.9, color="#777777")
    lower.set(xlabel="likelihood of the predicted class", ylabel="images")
    return figure


def calibration_words(evaluation: Evaluation) -> str:
    """The expected calibration error, and whether the network is too sure or not sure enough."""
    error = evaluation.metrics["expected_calibration_error"]
    sure, right = float(evaluation.confidence.mean()), float(evaluation.correct.mean())
    words = f"Mean likelihood of the predicted class {percent(sure)}, accuracy {percent(right)}"
    if error is None or math.isnan(sure):
        return "The likelihoods are not numbers: the training diverged."
    verdict = "surer than it is right" if sure > right + 0.01 else "less sure than it is right"
    verdict = "about as sure as it is right" if abs(sure - right) <= 0.01 else verdict
    return f"{words}: on average the network is {verdict}. Expected calibration error {error:.4f}."


def speed_and_storage_words(evaluation: Evaluation) -> str:
    """Time for an image, and whether the saved network predicts the same bits."""
    metrics = evaluation.metrics
    difference = metrics["round_trip_difference"]
    text = f"One image alone takes {metrics['milliseconds_per_image']:.1f} ms"
    views = metrics["test_time_augmentation"]
    text += " (the mean over its six views). " if views == "mirror_shifts" else ". "
    if metrics["diverged_epoch"] is not None:
        return text + "What it answers is not a number, so there is nothing to compare after it was saved and loaded."
    if difference is None:
        return text + "The network was not trained here, so it was not saved and loaded again."
    text += "Loaded from its file, the network gives "
    if difference == 0:
        return text + "the likelihoods that it gave when it was trained, bit for bit."
    if difference < ROUNDING:
        return text + f"those that it gave when it was trained, but for rounding (at most {difference:.1g})."
    words = "**other likelihoods** than when it was trained"
    return text + f"{words}, by up to {difference:.2g}: do not trust the stored file."
