"""Intervals of accuracies, and calibration: what a network's predictions say about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
SEEDS = 3  # trainings from which on the variance of the seed is counted


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

    Wilson's of the mean; from three trainings on with that of the seeds joined to it, see `with_seeds`.
    """
    mean = float(np.mean(accuracies))
    bounds = wilson_interval(min(mean * images, images), images, level)
    low, high = with_seeds(accuracies, bounds, level)
    return max(0.0, low), min(1.0, high)


def mean_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a mean over images, such as a test loss, from values (trainings, images).

    The t interval over the images of the mean over the trainings; from three trainings on with that of the seeds.
    """
    from scipy.stats import sem, t

    by_image = values.mean(axis=0)
    bounds = t.interval(level, len(by_image) - 1, loc=by_image.mean(), scale=sem(by_image))
    return with_seeds(values.mean(axis=1), (float(bounds[0]), float(bounds[1])), level)


def with_seeds(values: np.ndarray, bounds: tuple[float, float], level: float = LEVEL) -> tuple[float, float]:
    """`bounds`, the interval of the mean of `values` (trainings,) over the images, joined with that over the seeds.

    The errors are independent, so the distances from the mean are squared and added. The t interval over the seeds
    alone would hold for these images only, and three trainings would look too precise beside a single one.
    What a seed does to single images is in both parts, so the sum errs on the wide side. Fewer trainings than SEEDS
    do not tell how much a seed moves: then the bounds are those of the images alone.
    """
    mean, seeds = float(np.mean(values)), seeds_interval(values, level)
    if seeds is None:
        return bounds
    reach = seeds[1] - mean
    return mean - math.hypot(mean - bounds[0], reach), mean + math.hypot(bounds[1] - mean, reach)


def seeds_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """The t interval of the mean over trainings with different seeds, (t,); None for fewer than SEEDS of them."""
    from scipy.stats import sem, t

    if len(values) < SEEDS:
        return None
    mean, reach = float(np.mean(values)), float(sem(values) * t.ppf((1 + level) / 2, len(values) - 1))
    return mean - reach, mean + reach


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Bins of (n, k) probabilities by confidence, the highest predicted probability, beside true labels (n,)."""
    return binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def binned(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Reliability:
    """The same from the confidence of each prediction and whether it was right, both (n,)."""
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
