"""What the evaluate notebook needs besides Keras and scikit-learn: views, compute budget, what is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bakeoff.lab import files

if TYPE_CHECKING:
    import keras

    from bakeoff.lab.preprocessing import Prepared, View

PREDICTIONS, METRICS = "predictions.npz", "metrics.json"  # the latter is written last
# Names in metrics.json that are null where nothing is measured.
MEASURES = (
    *("test_accuracy", "accuracy_low", "accuracy_high", "test_loss", "loss_name", "label_smoothing"),
    *("top_k_accuracy", "balanced_accuracy", "expected_calibration_error"),
)
MINIMUM_IMAGES = 16  # predicted whatever the budget says, so that there is something to show
LABELS_ONLY_IMAGES = 250  # nothing is measured from these predictions: single images are shown, no more
STEP_GFLOP = 1000.0  # a prediction step takes fewer images where the network is so large that memory would run out
SMALLEST_PROBABILITY = 1e-30  # stands for a probability that rounded to 0, before its logarithm is taken
LATENCY_SECONDS, LATENCY_RUNS = 2.0, 20

Change = Callable[[np.ndarray], np.ndarray]


# ---------------------------------------------------------------- how many images


def images_to_score(available: int, gflop: float, max_tflop: float | None) -> int:
    """How many of the first test images the budget allows, when each takes `gflop`; at least MINIMUM_IMAGES."""
    if max_tflop is None or gflop <= 0:
        return available
    return min(available, max(MINIMUM_IMAGES, int(max_tflop * 1000 / gflop)))


def images_per_step(evaluation_batch_size: int, gflop: float) -> int:
    """Images that a prediction step takes: as asked, fewer for networks of many GFLOP an image."""
    if evaluation_batch_size < 1:
        raise ValueError(f"evaluation_batch_size must be at least 1, not {evaluation_batch_size}")
    return min(evaluation_batch_size, max(1, int(STEP_GFLOP / gflop))) if gflop > 0 else evaluation_batch_size


# ---------------------------------------------------------------- test-time augmentation


def _shifted(at: int) -> Change:
    """Images (n, h, w, c) by one pixel down right (at 0) or up left (at 2), the border mirrored."""

    def change(images: np.ndarray) -> np.ndarray:
        height, width = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return padded[:, at : at + height, at : at + width]

    return change


def _mirrored(change: Change) -> Change:
    return lambda images: change(images)[:, :, ::-1]


_SIDES: tuple[Change, ...] = (lambda images: images, _shifted(0), _shifted(2))
# Image and mirror image weigh half together, and so do their shifts, as the airbench94 record tests.
MIRROR_SHIFTS: tuple[tuple[float, Change], ...] = tuple(
    (share, each) for share, side in zip((0.25, 0.125, 0.125), _SIDES, strict=True) for each in (side, _mirrored(side))
)


@dataclass(frozen=True)
class Changed:
    """Examples whose images are changed before they are scaled: one view of each."""

    examples: View
    change: Change

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self.examples.labels

    def batch(self, positions: np.ndarray | Sequence[int]) -> np.ndarray:
        """What the network sees of the changed images at these positions, (k, h, w, c) float32."""
        return self.examples.apply(self.change(self.examples.raw(positions)))


def views(examples: View, test_time_augmentation: str) -> Sequence[View | Changed]:
    """What is predicted of the images: they alone (none), or six views of each (mirror_shifts)."""
    if test_time_augmentation == "mirror_shifts":
        return [Changed(examples, change) for _, change in MIRROR_SHIFTS]
    if test_time_augmentation != "none":
        raise ValueError(f"test_time_augmentation is none or mirror_shifts, not {test_time_augmentation!r}")
    return [examples]


def mean_of_views(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (n, k) float32 from what the network puts out for each of the `views`.

    Of several views it is the weighted mean of log probabilities, normalized: for a softmax, the mean of the logits.
    """
    columns = [two_columns(np.asarray(each, np.float32)) for each in predictions]
    if len(columns) == 1:
        return columns[0]
    weighted = zip((share for share, _ in MIRROR_SHIFTS), columns, strict=True)
    logs = sum(share * np.log(np.maximum(each.astype(np.float64), SMALLEST_PROBABILITY)) for share, each in weighted)
    powers = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def two_columns(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n, k); the (n, 1) of a sigmoid unit becomes (n, 2): of label 0, of label 1."""
    if probabilities.shape[1] > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], axis=1)


# ---------------------------------------------------------------- measures


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, top_k: int) -> float | None:
    """Share of images whose true class is among the k likeliest; None where k covers every class.

    Of equal probabilities the first counts, as for `argmax`; scikit-learn's `top_k_accuracy_score` takes the last, so
    that of a network that predicts all classes alike it could be below the accuracy.
    """
    if not 1 <= top_k < probabilities.shape[1]:
        return None
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return float((likeliest == labels[:, None]).any(axis=1).mean())


def milliseconds_per_image(predict_one: Callable[[], Any]) -> float:
    """Median time in milliseconds of a call that predicts one image."""
    predict_one()  # the first call for a shape prepares more than the others
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < LATENCY_RUNS and sum(seconds) < LATENCY_SECONDS):
        start = time.perf_counter()
        predict_one()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1000


def round_trip_difference(inputs: Mapping[str, str], model: keras.Model, data: Prepared) -> float | None:
    """The largest difference between the probabilities of the loaded network and those of the network that was trained.

    The training kept the latter, of its first images; 0 means bit for bit the same. None where nothing was trained,
    or where they are no numbers.
    """
    from bakeoff.lab.training import SAMPLE, sample_predictions

    kept = files.read_npz_if_whole(Path(inputs["train"]) / SAMPLE) if "train" in inputs else {}
    if not kept or not np.isfinite(kept["probabilities"]).all():
        return None
    difference = np.abs(sample_predictions(model, data) - kept["probabilities"]).max()
    return float(difference) if np.isfinite(difference) else math.inf


# ---------------------------------------------------------------- what is kept


@dataclass(frozen=True)
class Evaluation:
    """Predictions on the first n test images, and what was measured from them.

    ids (n,) str; labels (n,) int64; probabilities (n, k) float32 whose rows sum to 1; metrics as in metrics.json.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    metrics: dict[str, Any]

    @property
    def measured(self) -> bool:
        """Whether the network predicts the data's classes, so that there is an accuracy."""
        return self.metrics["task"] != "labels_only" and self.metrics.get("diverged_epoch") is None

    @property
    def class_names(self) -> list[str]:
        """Names of the true labels."""
        return self.metrics["class_names"]

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each image, (n,) int64."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the likeliest class, (n,) float32."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Which images were predicted right, (n,) bool."""
        return self.predicted == self.labels


def open_evaluation(folder: str | Path) -> Evaluation:
    """What the notebook wrote into `folder`."""
    with np.load(Path(folder) / PREDICTIONS) as stored:
        arrays = {name: stored[name] for name in ("ids", "labels", "probabilities")}
    return Evaluation(metrics=files.read_json(Path(folder) / METRICS), **arrays)
