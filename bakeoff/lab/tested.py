"""What trainings predicted on the test images, and how two variants differ: one way for every page and claim.

Knows arrays and files of predictions alone, so that the audit of the sources' claims compares as the tables do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from bakeoff.lab.differences import (
    TRAININGS_ALONE,
    Difference,
    paired_difference,
    trainings_difference,
    unpaired_difference,
)
from bakeoff.lab.losses import losses
from bakeoff.lab.statistics import LEVEL

ROUNDING = 1e-4  # of an accuracy in results.csv against the one in the predictions


@dataclass(frozen=True)
class Predictions:
    """The predictions of every training of a variant, in the order of the ids.

    ids (n,) text and labels (n,): the test images. predicted (trainings, n): the likeliest class. confidence
    (trainings, n): its predicted probability.
    """

    ids: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @cached_property
    def correct(self) -> np.ndarray:
        """Which training (of a panel: which network) got which image right, (trainings, n) bool."""
        return self.predicted == self.labels

    def same_images(self, other: Predictions) -> bool:
        """Whether both were tested on the same images."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.labels, other.labels)


@dataclass(frozen=True)
class Tested:
    """A variant's test: the accuracy of each training (t,), of how many images, and the predictions where stored."""

    accuracies: np.ndarray
    images: int
    predictions: Predictions | None = None


def read_predictions(paths: Sequence[Path | None], accuracies: np.ndarray) -> Predictions | None:
    """The predictions of a variant's trainings from their predictions.npz, whose accuracies (t,) are known.

    None unless all are there, are those that the accuracies were computed from, and are of the same images.
    """
    each = [_one(path) for path in paths if path is not None and path.is_file()]
    if not each or len(each) < len(paths) or not _belong(each, accuracies):
        return None
    names = ("predicted", "confidence")
    predicted, confidence = (np.concatenate([getattr(one, name) for one in each]) for name in names)
    return Predictions(each[0].ids, each[0].labels, predicted, confidence)


def _one(path: Path) -> Predictions:
    with np.load(path) as kept:
        if "said" in kept:
            return Predictions(_text(kept["ids"]), kept["labels"], kept["said"][None], kept["confidence"][None])
        order = np.argsort(kept["ids"], kind="stable")
        probabilities = kept["probabilities"][order]
        predicted, confidence = probabilities.argmax(axis=1)[None], probabilities.max(axis=1)[None]
        return Predictions(kept["ids"][order], kept["labels"][order], predicted, confidence)


def _belong(each: list[Predictions], accuracies: np.ndarray) -> bool:
    same = all(one.same_images(each[0]) for one in each)
    return same and all(abs(one.correct.mean() - own) < ROUNDING for one, own in zip(each, accuracies, strict=True))


def read_losses(paths: Sequence[Path | None], loss: str, label_smoothing: float = 0.0) -> np.ndarray | None:
    """The loss of every test image, (trainings, n), from each training's predictions.npz; None unless all are there
    and of equally many images.
    """
    each = [_losses(path, loss, label_smoothing) for path in paths if path is not None and path.is_file()]
    whole = len(each) == len(paths) and len({len(one) for one in each}) == 1
    return np.stack(each) if whole else None


def _losses(path: Path, loss: str, label_smoothing: float = 0.0) -> np.ndarray:
    with np.load(path) as kept:
        if "said" in kept:
            return kept["losses"].astype(np.float64)
        order = np.argsort(kept["ids"], kind="stable")
        return losses(kept["probabilities"][order], kept["labels"][order], loss, label_smoothing)


def summary(path: Path, loss: str | None, label_smoothing: float | None = 0.0) -> dict[str, np.ndarray]:
    """A predictions.npz in some 50 kB for 10 000 images, which `read_predictions` and `read_losses` read as well.

    In the order of the ids: labels, said (the likeliest class), confidence (its probability) and losses (see
    `losses`), each (n,), the last two with three digits; ids as bytes (length, n), which compress to nearly nothing.
    Without a loss, as of a task without labels, there are no losses. Raises ValueError where no image was predicted.
    """
    one = _one(path)
    letters = np.char.encode(one.ids, "utf-8")
    kept = {
        "ids": np.ascontiguousarray(letters.view(np.uint8).reshape(len(letters), -1).T),
        "labels": one.labels.astype(np.int16),
        "said": one.predicted[0].astype(np.int16),
        "confidence": one.confidence[0].astype(np.float16),
    }
    if loss:
        kept["losses"] = _losses(path, loss, label_smoothing or 0.0).astype(np.float16)
    return kept


def _text(letters: np.ndarray) -> np.ndarray:
    """The ids of a `summary` as text (n,)."""
    rows = np.ascontiguousarray(letters.T)
    return np.char.decode(rows.view(f"S{rows.shape[1]}")[:, 0], "utf-8")


def compare(first: Tested, second: Tested, level: float = LEVEL) -> Difference:
    """How much the mean accuracy of `first` exceeds that of `second`.

    Single trainings with stored predictions of the same images take McNemar's exact test and Newcombe's paired
    interval; with several trainings on a side `trainings_difference`; without predictions of the same images the
    accuracies alone, with the widest interval.
    """
    single = len(first.accuracies) == len(second.accuracies) == 1
    images = min(first.images, second.images)
    one, other = first.predictions, second.predictions
    if one is None or other is None or not one.same_images(other):
        if single:
            accuracies = float(first.accuracies[0]), float(second.accuracies[0])
            return unpaired_difference(*accuracies, first.images, level, second.images)
        variance = sum(_binomial_variance(side) for side in (first, second))
        found = trainings_difference(first.accuracies, second.accuracies, variance, images, level)
        return replace(found, test=TRAININGS_ALONE)
    if single:
        return paired_difference(one.correct[0], other.correct[0], level)
    by_image = one.correct.mean(axis=0) - other.correct.mean(axis=0)
    variance = float(np.var(by_image, ddof=min(1, images - 1))) / images
    return trainings_difference(first.accuracies, second.accuracies, variance, images, level)


def _binomial_variance(side: Tested) -> float:
    mean = float(np.mean(side.accuracies))
    return mean * (1 - mean) / side.images
