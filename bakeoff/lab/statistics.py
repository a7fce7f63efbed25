"""Intervals of accuracies, and calibration: what one network's answers say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Reliability:
    """Predictions gathered in bins of equal width by confidence, each array (bins,).

    `confidence` and `accuracy` are means in a bin, NaN where `counts` is 0; `edges` is (bins + 1,).
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def wilson_interval(correct: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of the share correct / n (E. B. Wilson, 1927); (0, 1) when n is 0.

    `correct` may be fractional: the mean of several trainings times n.
    """
    from statsmodels.stats.proportion import proportion_confint

    if n < 0 or not 0 <= correct <= n:
        raise ValueError(f"an interval needs 0 <= correct <= n, got {correct} of {n}; count the images again")
    if n == 0:
        return 0.0, 1.0
    low, high = proportion_confint(correct, n, alpha=1 - level, method="wilson")
    return float(low), float(high)


def accuracy_interval(accuracies: np.ndarray, images: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the accuracy that a network of this kind has, from its trainings (t,), each scored on `images`.

    One training: Wilson's interval, the luck of the images. Several: to that of their mean comes the t interval over
    the trainings, the luck of the seeds; independent errors, so their distances from the mean are squared and added.
    The t interval alone would hold for these test images only, and three trainings would look surer beside a single
    one than they are. What a seed does to single images is in both parts, so the sum errs on the wide side.
    """
    from scipy.stats import sem, t

    mean = float(np.mean(accuracies))
    low, high = wilson_interval(min(mean * images, images), images, level)
    if len(accuracies) < 2:
        return low, high
    seeds = float(sem(accuracies) * t.ppf((1 + level) / 2, len(accuracies) - 1))
    return max(0.0, mean - math.hypot(mean - low, seeds)), min(1.0, mean + math.hypot(high - mean, seeds))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Gather (n, k) probabilities by the likelihood of the likeliest class and compare with true labels (n,)."""
    return binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def binned(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Reliability:
    """The same from the likelihood of each answer and whether it was right, both (n,)."""
    confidence, correct = confidence.astype(float), correct.astype(float)
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bin_of, confidence, bins) / counts
        accuracy = np.bincount(bin_of, correct, bins) / counts
    return Reliability(edges, counts, mean_confidence, accuracy)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over the bins, weighted by their images; NaN without images.

    Bins of equal width, as in C. Guo et al., "On calibration of modern neural networks" (2017).
    """
    if len(labels) == 0:
        return float("nan")
    found = reliability(probabilities, labels, bins)
    gaps = np.abs(np.nan_to_num(found.accuracy - found.confidence))
    return float((gaps * found.counts).sum() / found.counts.sum())
