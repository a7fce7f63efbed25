"""How two accuracies differ: the estimate, its interval and its p value, paired wherever it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bakeoff.lab.statistics import LEVEL, wilson_interval

EXACT = "McNemar's exact test"
TRAININGS = "t test over trainings and images"
ALONE = "score test of the accuracies alone"
TRAININGS_ALONE = "t test of the accuracies alone"


@dataclass(frozen=True)
class Difference:
    """How much one accuracy exceeds another: the estimate, its interval, the p value of "no difference", the test."""

    difference: float
    low: float
    high: float
    p_value: float
    test: str


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
    return Difference((only_first - only_second) / first.size, low, high, min(1.0, p_value), EXACT)


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


def unpaired_difference(
    first: float, second: float, n: int, level: float = LEVEL, second_n: int | None = None
) -> Difference:
    """The same from two accuracies alone, each of n images, as if the images were not the same: a wider interval.

    Where the second one is of another number of images, that is `second_n`.

    Newcombe's interval for independent proportions, and the score test of equal proportions.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    if n <= 0 or not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"a difference needs accuracies from 0 to 1 and n > 0, got {first}, {second}, n = {n}")
    m = second_n or n
    low, high = confint_proportions_2indep(first * n, n, second * m, m, method="newcomb", alpha=1 - level)
    p_value = 1.0 if first == second else float(proportions_ztest([first * n, second * m], [n, m])[1])
    return Difference(first - second, float(low), float(high), p_value, ALONE)


def trainings_difference(
    first: np.ndarray, second: np.ndarray, image_variance: float, images: int, level: float = LEVEL
) -> Difference:
    """Mean accuracy of the trainings `first` (t,) minus that of `second` (u,), where at least one has several.

    McNemar's test knows one network a side and only the variance over the images; Welch's test over the trainings
    knows only the seed-to-seed variance. This is Welch's with a third term, the variance of the difference over the
    images, and with Satterthwaite's degrees of freedom, so a pair differs significantly only when neither explains it.
    The part that is both (what a seed does to single images) counts twice, which errs on the cautious side. A side
    with a single training has no term of its own: its seed-to-seed variance cannot be known. `image_variance` is that
    of the mean difference, from `images` images.
    """
    from scipy.stats import t

    difference = float(np.mean(first) - np.mean(second))
    terms = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (first, second) if len(side) > 1]
    terms.append((image_variance, max(1, images - 1)))
    variance = sum(size for size, _ in terms)
    if variance == 0:
        return Difference(difference, difference, difference, float(difference == 0), TRAININGS)
    freedom = variance**2 / sum(size**2 / degrees for size, degrees in terms)
    error = math.sqrt(variance)
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    return Difference(difference, low, high, float(2 * t.sf(abs(difference) / error, freedom)), TRAININGS)
