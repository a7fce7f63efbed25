"""Sentences and figures of the evaluate page: what one network gets right, what it confuses, and its calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab import statistics
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, listed, percent, short, text, whole
from bakeoff.lab.results import SYNTHETIC

if TYPE_CHECKING:
    from bakeoff.lab.evaluation import Evaluation

WRONG, RIGHT = COLORS[1], COLORS[2]
MOST_ANNOTATED = 12  # classes; a confusion matrix of more shows colours without counts
MOST_TICKS = 50
ROUNDING = 1e-3  # of a probability, between machines or devices; on one machine there is none
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
        words += f" The balanced accuracy, the mean recall of both classes, is {percent(metrics['balanced_accuracy'])}."
    guess = float(np.bincount(evaluation.labels).max() / images)
    if metrics["test_accuracy"] <= guess:
        words += f" Always predicting the most frequent class would score {percent(guess)}."
    return words + _doubts(metrics)


def _doubts(metrics: Mapping[str, Any]) -> str:
    doubts = ""
    if metrics["dataset"] == SYNTHETIC:
        doubts += f" The images are the **synthetic fallback data set** `{SYNTHETIC}`: no source's figure can be"
        doubts += " compared with this."
    if metrics["weights"] == "random":
        doubts += " The base has **random weights in place of ImageNet's**, so this says nothing about transfer."
    used, available = metrics["test_images"], metrics["test_images_available"]
    return doubts + (f" Only the first {used} of {available} test images were used." if 0 < used < available else "")


def nothing_to_measure(evaluation: Evaluation, what: str) -> str:
    """Why a section has no numbers: the training diverged, or the network's labels are not the classes of the data."""
    diverged = evaluation.metrics["diverged_epoch"]
    if diverged is not None:
        words = f"There is nothing to measure here, {what}: **the training diverged** at epoch {diverged}, so the"
        return f"{words} network's predictions are not numbers."
    labels = evaluation.probabilities.shape[1]
    words = f"There is nothing to measure here, {what}: the network predicts {labels} labels of its own"
    return f"{words}, not the data's classes."


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


def class_words(evaluation: Evaluation) -> str:
    """The classes of highest and lowest recall, and those that are never predicted."""
    report = pd.DataFrame(evaluation.metrics["per_class"])
    tested = report[report["support"] > 0].sort_values("recall")
    least, most = tested.iloc[0], tested.iloc[-1]
    words = f"Recall is highest for {text(most['class_name'])} ({percent(most['recall'])}) and lowest for "
    words += f"{text(least['class_name'])} ({percent(least['recall'])})."
    if most["recall"] == least["recall"]:
        words = f"The recall of every class is {percent(most['recall'])}."
    never = [text(name) for at, name in enumerate(evaluation.class_names) if not (evaluation.predicted == at).any()]
    return words + (f" Never predicted: {listed(never, MOST_NAMED)}." if never else "")


def matrix_size(classes: int) -> tuple[float, float]:
    """Width and height in inches of a matrix of so many classes, with its colour bar."""
    side = min(9.0, max(3.2, 0.36 * classes + 1.2))
    return side + 0.8, side


def tick_labels(names: Sequence[str]) -> list[str]:
    """Names of classes for the axes of a heat map, shortened; of many classes some are left out."""
    every = math.ceil(len(names) / MOST_TICKS)
    return ["" if at % every else short(name) for at, name in enumerate(names)]


def confusion_words(matrix: np.ndarray, class_names: Sequence[str], pairs: int = 3) -> str:
    """The most frequent confusions in a matrix (k, k) of images by true (rows) and predicted class (columns)."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    cells = [divmod(int(cell), len(wrong)) for cell in order if wrong.flat[cell] > 0]
    if not cells:
        return "No test image was confused with another class."
    names = [text(name) for name in class_names]
    words = [f"{names[true]} predicted as {names[taken]} ({wrong[true, taken]})" for true, taken in cells]
    return f"Most frequent {'confusion' if len(words) == 1 else 'confusions'}, in images: {', '.join(words)}."


def reliability(evaluation: Evaluation, bins: int = 15) -> Figure:
    """Reliability diagram: accuracy against confidence, in bins, above the number of images in each bin."""
    binned = statistics.reliability(evaluation.probabilities, evaluation.labels, bins)
    filled, width = binned.counts > 0, 1 / bins
    centres = binned.edges[:-1] + width / 2
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(4.8, 4.6), sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    upper.bar(
        centres[filled], binned.accuracy[filled], width=width * 0.9, color=COLORS[0], alpha=0.75, label="accuracy"
    )
    upper.plot(binned.confidence[filled], binned.accuracy[filled], "o", color="black", markersize=3)
    upper.plot([0, 1], [0, 1], "--", color=WRONG, label="perfectly calibrated")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    upper.legend(loc="upper left")
    lower.bar(centres, binned.counts, width=width * 0.9, color="#777777")
    lower.set(xlabel="confidence (predicted probability of the predicted class)", ylabel="images")
    return figure


def calibration_words(evaluation: Evaluation) -> str:
    """The expected calibration error, and whether the network is over- or underconfident."""
    error = evaluation.metrics["expected_calibration_error"]
    sure, right = float(evaluation.confidence.mean()), float(evaluation.correct.mean())
    if error is None or math.isnan(sure):
        return "The predicted probabilities are not numbers: the training diverged."
    verdict = "overconfident" if sure > right + 0.01 else "underconfident"
    verdict = "neither over- nor underconfident" if abs(sure - right) <= 0.01 else verdict
    words = f"Mean confidence {percent(sure)}, accuracy {percent(right)}: on average the network is {verdict}."
    return f"{words} Expected calibration error {error:.4f}."


def speed_and_storage_words(evaluation: Evaluation) -> str:
    """Time for an image, and whether the saved network predicts the same bits."""
    metrics = evaluation.metrics
    difference = metrics["round_trip_difference"]
    words = f"One image alone takes {metrics['milliseconds_per_image']:.1f} ms"
    words += " (the mean over its six views). " if metrics["test_time_augmentation"] == "mirror_shifts" else ". "
    if metrics["diverged_epoch"] is not None:
        return words + "Its predictions are not numbers, so there is nothing to compare after saving and loading."
    if difference is None:
        return words + "The network was not trained here, so it was not saved and loaded again."
    words += "Loaded from its file, the network predicts "
    if difference == 0:
        return words + "the same probabilities as after its training, bit for bit."
    if difference < ROUNDING:
        return words + f"the same probabilities as after its training, but for rounding (at most {difference:.1g})."
    return words + f"**other probabilities** than after its training, by up to {difference:.2g}: do not trust the file."
