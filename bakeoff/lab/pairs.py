"""Every pair of ranked networks: by how much they differ, how surely, and the groups that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from string import ascii_lowercase

import numpy as np
import pandas as pd

from bakeoff.lab.results import Results
from bakeoff.lab.tested import Predictions, Tested, compare

SIGNIFICANCE = 0.05
_ACCURACIES = ("first_accuracy", "second_accuracy")


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values (k,) corrected for being k tests, by S. Holm's step-down method (1979)."""
    from statsmodels.stats.multitest import multipletests

    p_values = np.asarray(p_values, float)
    return multipletests(p_values, method="holm")[1] if p_values.size else p_values


def pairwise_tests(results: Results, predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """A row for each pair of ranked variants, the better one first, in the order of the ranking.

    Columns: first, second, difference, low, high, p_value, test (see `tested.compare`), corrected (Holm's p value over
    all pairs), significant, and seeds_counted: whether both sides have several trainings. Where they have not,
    what is significant is so on these images, and another seed could reverse it. first_accuracy and second_accuracy
    are the means that are compared.
    """
    ranked, trainings = results.ranked, results.trainings
    images = int(ranked["test_images"].iloc[0]) if len(ranked) else 0
    sides = {
        name: Tested(group.to_numpy(), images, predictions.get(name))
        for name, group in trainings.groupby("variant")["test_accuracy"]
    }
    rows = []
    for one, other in combinations(ranked["variant"], 2):
        both = sides[one], sides[other]
        seeds = all(len(side.accuracies) > 1 for side in both)
        means = (float(np.mean(side.accuracies)) for side in both)
        named = {"first": one, "second": other} | dict(zip(_ACCURACIES, means, strict=True))
        rows.append(named | vars(compare(*both)) | {"seeds_counted": seeds})
    columns = ["first", "second", *_ACCURACIES, "difference", "low", "high", "p_value", "test", "seeds_counted"]
    frame = pd.DataFrame(rows, columns=columns)
    corrected = holm(frame["p_value"].to_numpy())
    return frame.assign(corrected=corrected, significant=corrected < SIGNIFICANCE)


def versus_best(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs of the first ranked variant, the other one's name in `variant`."""
    return pairs[pairs["first"] == pairs["first"].iloc[:1].squeeze()].rename(columns={"second": "variant"})


def groups(names: Sequence[str], pairs: pd.DataFrame) -> list[list[str]]:
    """The largest sets of variants of which no two differ significantly, the set of the best first.

    Insert and absorb (H.-P. Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons",
    Journal of Computational and Graphical Statistics, 2004): one set of all, split at each pair that differs.
    """
    sets = [frozenset(names)] if len(names) else []
    for one, other in pairs.loc[pairs["significant"].astype(bool), ["first", "second"]].itertuples(index=False):
        split = {
            part for each in sets for part in ((each - {one}, each - {other}) if {one, other} <= each else (each,))
        }
        sets = [each for each in split if not any(each < larger for larger in split)]
    place = {name: at for at, name in enumerate(names)}
    return sorted(
        (sorted(each, key=place.__getitem__) for each in sets), key=lambda each: [place[name] for name in each]
    )


def letters(names: Sequence[str], pairs: pd.DataFrame) -> dict[str, str]:
    """The letters of each variant's groups: two share a letter exactly when they do not differ significantly."""
    found = groups(names, pairs)
    marks = [ascii_lowercase[at % 26] + (str(at // 26) if at >= 26 else "") for at in range(len(found))]
    return {name: "".join(mark for mark, each in zip(marks, found, strict=True) if name in each) for name in names}
