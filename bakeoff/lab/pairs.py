"""Every pair of ranked networks: by how much they differ, whether chance explains it, and the groups that follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from string import ascii_lowercase

import numpy as np
import pandas as pd

from bakeoff.lab.answers import Answers
from bakeoff.lab.results import Results
from bakeoff.lab.statistics import LEVEL, wilson_interval

SIGNIFICANCE = 0.05
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


def unpaired_difference(first: float, second: float, n: int, level: float = LEVEL) -> Difference:
    """The same from two accuracies alone, each of n images, as if the images were not the same: a wider interval.

    Newcombe's interval for independent proportions, and the score test of equal proportions.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

    if n <= 0 or not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"a difference needs accuracies from 0 to 1 and n > 0, got {first}, {second}, n = {n}")
    low, high = confint_proportions_2indep(first * n, n, second * n, n, method="newcomb", alpha=1 - level)
    p_value = 1.0 if first == second else float(proportions_ztest([first * n, second * n], [n, n])[1])
    return Difference(first - second, float(low), float(high), p_value, ALONE)


def trainings_difference(
    first: np.ndarray, second: np.ndarray, image_variance: float, images: int, level: float = LEVEL
) -> Difference:
    """Mean accuracy of the trainings `first` (t,) minus that of `second` (u,), where at least one has several.

    McNemar's test knows one network a side and only the luck of the images; Welch's test over the trainings knows only
    the luck of the seeds. This is Welch's with a third term, the variance of the difference over the images, and with
    Satterthwaite's degrees of freedom, so a pair is told apart only when neither luck explains it. The part that is
    both (what a seed does to single images) counts twice, which errs on the cautious side. A side with a single
    training has no term of its own: its luck of the seed cannot be known. `image_variance` is that of the mean
    difference, from `images` images.
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


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values (k,) corrected for being k tests, by S. Holm's step-down method (1979)."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, float)
    return multipletests(p_values, method="holm")[1] if p_values.size else p_values


def every_pair(results: Results, answers: Mapping[str, Answers]) -> pd.DataFrame:
    """A row for each pair of ranked variants, the better one first, in the order of the ranking.

    Columns: first, second, difference, low, high, p_value, test, corrected (Holm's p value over all pairs) and
    told_apart. Pairs of single trainings with stored predictions take McNemar's exact test; with several trainings on
    a side `trainings_difference`; without predictions of the same images the accuracies alone, the widest interval.
    """
    ranked, trainings = results.ranked, results.trainings
    accuracies = {name: group.to_numpy() for name, group in trainings.groupby("variant")["test_accuracy"]}
    rows = []
    for one, other in combinations(ranked["variant"], 2):
        images = int(ranked["test_images"].iloc[0])
        difference = _compared(accuracies[one], accuracies[other], answers.get(one), answers.get(other), images)
        rows.append({"first": one, "second": other, **vars(difference)})
    columns = ["first", "second", "difference", "low", "high", "p_value", "test"]
    frame = pd.DataFrame(rows, columns=columns)
    corrected = holm(frame["p_value"].to_numpy())
    return frame.assign(corrected=corrected, told_apart=corrected < SIGNIFICANCE)


def _compared(
    ours: np.ndarray, theirs: np.ndarray, first: Answers | None, second: Answers | None, images: int
) -> Difference:
    single = len(ours) == len(theirs) == 1
    if first is None or second is None or not first.same_images(second):
        if single:
            return unpaired_difference(ours[0], theirs[0], images)
        variance = sum(float(mean * (1 - mean)) for mean in (ours.mean(), theirs.mean()))
        return replace(trainings_difference(ours, theirs, variance / images, images), test=TRAININGS_ALONE)
    if single:
        return paired_difference(first.correct[0], second.correct[0])
    by_image = first.correct.mean(axis=0) - second.correct.mean(axis=0)
    return trainings_difference(ours, theirs, float(np.var(by_image, ddof=min(1, images - 1))) / images, images)


def against_best(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs of the first ranked variant, the other one's name in `variant`."""
    return pairs[pairs["first"] == pairs["first"].iloc[:1].squeeze()].rename(columns={"second": "variant"})


def groups(names: Sequence[str], pairs: pd.DataFrame) -> list[list[str]]:
    """The largest sets of variants of which no two can be told apart, the set of the best first.

    Insert and absorb (H.-P. Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons",
    Journal of Computational and Graphical Statistics, 2004): one set of all, split at each pair that is told apart.
    """
    sets = [frozenset(names)] if len(names) else []
    for one, other in pairs.loc[pairs["told_apart"].astype(bool), ["first", "second"]].itertuples(index=False):
        split = {
            part for each in sets for part in ((each - {one}, each - {other}) if {one, other} <= each else (each,))
        }
        sets = [each for each in split if not any(each < larger for larger in split)]
    place = {name: at for at, name in enumerate(names)}
    return sorted(
        (sorted(each, key=place.__getitem__) for each in sets), key=lambda each: [place[name] for name in each]
    )


def letters(names: Sequence[str], pairs: pd.DataFrame) -> dict[str, str]:
    """The letters of each variant's groups: two variants share a letter exactly when they cannot be told apart."""
    found = groups(names, pairs)
    marks = [ascii_lowercase[at % 26] + (str(at // 26) if at >= 26 else "") for at in range(len(found))]
    return {name: "".join(mark for mark, each in zip(marks, found, strict=True) if name in each) for name in names}
