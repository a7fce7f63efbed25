"""Intervals, paired tests and calibration for classifiers that are scored on the same test images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """How much one accuracy exceeds another: the estimate, its interval, and the p value of "no difference"."""

    difference: float
    low: float
    high: float
    p_value: float
    paired: bool


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


def paired_difference(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> Difference:
    """Accuracy of `first` minus that of `second`, from which images each got right, both (n,) bool, same images.

    Interval: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based
    on paired data" (Statistics in Medicine, 1998), method 10. p value: McNemar's exact test.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"a pair needs the same images, got {first.shape} and {second.shape}; align them by id first")
    both, only_first = int((first & second).sum()), int((first & ~second).sum())
    only_second, neither = int((~first & second).sum()), int((~first & ~second).sum())
    low, high = _newcombe_paired(both, only_first, only_second, neither, level)
    p_value = float(mcnemar([[both, only_first], [only_second, neither]], exact=True).pvalue)
    return Difference((only_first - only_second) / first.size, low, high, min(1.0, p_value), paired=True)


def _newcombe_paired(both: int, only_first: int, only_second: int, neither: int, level: float) -> tuple[float, float]:
    n = both + only_first + only_second + neither
    first, second = (both + only_first) / n, (both + only_second) / n
    first_low, first_high = wilson_interval(both + only_first, n, level)
    second_low, second_high = wilson_interval(both + only_second, n, level)
    correlation = _correlation(both, only_first, only_second, neither)
    below = _spread(first - first_low, second_high - second, correlation)
    above = _spread(first_high - first, second - second_low, correlation)
    difference = first - second
    return max(-1.0, difference - below), min(1.0, difference + above)


def _spread(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's phi: lowered towards zero when positive, and 0 where a margin is empty."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess = float(both * neither - only_first * only_second)
    if excess > 0:
        excess = max(0.0, excess - (both + only_first + only_second + neither) / 2)
    return excess / math.sqrt(margins)


def unpaired_difference(first: float, second: float, n: int, level: float = LEVEL) -> Difference:
    """The same from two accuracies alone, each of n images, as if the images were not the same: a wider interval.

    Newcombe's interval for independent proportions, and the score test of equal proportions.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    if n <= 0 or not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"a difference needs accuracies from 0 to 1 and n > 0, got {first}, {second}, n = {n}")
    counts = (first * n, n, second * n, n)
    low, high = confint_proportions_2indep(*counts, method="newcomb", alpha=1 - level)
    if first == second:
        return Difference(0.0, float(low), float(high), 1.0, paired=False)
    p_value = float(proportions_ztest([first * n, second * n], [n, n])[1])
    return Difference(first - second, float(low), float(high), p_value, paired=False)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values (k,) corrected for being k tests, by S. Holm's step-down method (1979)."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, float)
    return multipletests(p_values, method="holm")[1] if p_values.size else p_values


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Gather (n, k) probabilities by the likelihood of the likeliest class and compare with true labels (n,)."""
    confidence = probabilities.max(axis=1).astype(float)
    correct = (probabilities.argmax(axis=1) == labels).astype(float)
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
    binned = reliability(probabilities, labels, bins)
    gaps = np.abs(np.nan_to_num(binned.accuracy - binned.confidence))
    return float((gaps * binned.counts).sum() / binned.counts.sum())
