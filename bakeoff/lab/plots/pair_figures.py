"""Every pair of ranked networks in a figure, a table and sentences: which of them chance could have ordered so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab.answers import Answers
from bakeoff.lab.differences import ALONE, TRAININGS, TRAININGS_ALONE
from bakeoff.lab.pairs import groups
from bakeoff.lab.plots.words import count, listed, points
from bakeoff.lab.results import Results

MOST_NETWORKS = 24  # in a matrix
MOST_LISTED = 15  # pairs in the table; of more, those of neighbours in the ranking
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue
REVERSIBLE = "one side has a single training, and another seed could reverse it"
SMALLEST = 0.0001  # p values below it are not told from each other


def half_matrix(values: np.ndarray, texts: Sequence[Sequence[str]], names: Sequence[str], **look: Any) -> Figure:
    """A triangle of coloured fields (NaN stays white) with a text in each; columns have their names at their tops.

    Numbers stand in the fields, so there is no colour bar. `values` and `texts` are used below the diagonal, of the
    first MOST_NETWORKS names.
    """
    names, size = names[:MOST_NETWORKS], min(len(names), MOST_NETWORKS)
    side = 0.5 + (0.42 if size <= 12 else 0.34) * size
    figure, axes = plt.subplots(figsize=(side + 2.6, side))
    below = np.where(np.tri(size, k=-1) > 0, values[:size, :size], np.nan)
    image = axes.imshow(np.ma.masked_invalid(below), aspect="auto", **look)
    for row, name in enumerate(names):
        for column in range(row):
            color = image.cmap(image.norm(below[row, column]))[:3]
            dark = not np.isnan(below[row, column]) and np.dot(color, LUMINANCE) < 0.5
            style: dict[str, Any] = {"color": "white" if dark else "black", "fontsize": 8 if size <= 12 else 6.5}
            text = axes.text(column, row, texts[row][column], ha="center", va="center", **style)
            text.set_in_layout(False)  # it lies in its field; to leave it out saves seconds
        if row < size - 1:
            axes.text(row - 0.35, row, name, va="center", fontsize=7)
    axes.set_yticks(range(1, size), names[1:], fontsize=7)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(False)
    return figure


def differences(pairs: pd.DataFrame, names: Sequence[str]) -> Figure:
    """How many points the variant of a column is ahead of that of a row; coloured where they are told apart."""
    place = {name: at for at, name in enumerate(names)}
    values, texts = np.full((len(names),) * 2, np.nan), [[""] * len(names) for _ in names]
    for pair in pairs.itertuples(index=False):
        row, column = place[pair.second], place[pair.first]
        values[row, column] = 100 * pair.difference if pair.told_apart else np.nan
        size = points(pair.first_accuracy, pair.second_accuracy)
        texts[row][column] = size if pair.told_apart else f"({size})"
    return half_matrix(values, texts, names, cmap="Blues", vmin=0, vmax=max(1.0, 100 * pairs["difference"].max()))


def table(pairs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Each pair with difference, interval, both p values and the verdict; of many pairs only those of neighbours."""
    place = {name: at for at, name in enumerate(names)}
    near = pairs["second"].map(place) - pairs["first"].map(place) == 1
    rows = pairs if len(pairs) <= MOST_LISTED else pairs[near]
    frame = pd.DataFrame(
        {
            "pair": [f"{row.first} and {row.second}" for row in rows.itertuples()],
            "difference": [points(row.first_accuracy, row.second_accuracy, sign=True) for row in rows.itertuples()],
            "95 % interval": [f"{100 * row.low:+.1f} to {100 * row.high:+.1f}" for row in rows.itertuples()],
            "p": [p_text(p) for p in rows["p_value"]],
            "p after Holm": [p_text(p) for p in rows["corrected"]],
            "significantly different": [_significant(row) for row in rows.itertuples()],
        }
    )
    return frame if pairs["test"].nunique() < 2 else frame.assign(test=rows["test"].to_list())


def _significant(pair: Any) -> str:
    """Whether a pair differs significantly, marked where a side has a single training."""
    if not pair.told_apart:
        return "no"
    return "yes" if pair.seeds_counted else "on these images"


def p_text(p_value: float) -> str:
    """A p value as papers print it."""
    return f"< {SMALLEST}" if p_value < SMALLEST else f"{p_value:.4f}"


def caption(pairs: pd.DataFrame) -> str:
    """What the table holds."""
    which = "Every pair" if len(pairs) <= MOST_LISTED else "Neighbours in the ranking"
    text = f"{which}: difference in percentage points, p value, and p value corrected for {count(len(pairs), 'pair')}."
    marked = (pairs["told_apart"] & ~pairs["seeds_counted"].astype(bool)).any()
    return f"{text} On these images: {REVERSIBLE}." if marked else text


def words(pairs: pd.DataFrame, names: Sequence[str]) -> str:
    """How many pairs are told apart, and the groups of those that are not."""
    if pairs.empty:
        return "There are no two ranked variants, so there is no pair to compare."
    apart = int(pairs["told_apart"].sum())
    differ = "differs" if apart == 1 else "differ"
    text = f"Of {count(len(pairs), 'pair')}, {apart} {differ} significantly after Holm's correction."
    single = int((pairs["told_apart"] & ~pairs["seeds_counted"].astype(bool)).sum())
    if single:
        which = "all of them" if single == apart else f"{single} of them"
        text += f" Of {which} that holds on these images: {REVERSIBLE}."
    together = groups(names, pairs)
    first = listed(f"`{name}`" for name in together[0])
    if len(together) == 1:
        return f"{text} No two of {first} do."
    return f"{text} That leaves {len(together)} groups, the letters of the ranking; the first holds {first}."


def doubts(results: Results, pairs: pd.DataFrame, answers: Mapping[str, Answers]) -> str:
    """What the tests of these pairs do not know; empty when every one is exact."""
    texts = []
    if pairs["test"].isin([TRAININGS, TRAININGS_ALONE]).any():
        texts.append(
            "Pairs with several trainings on a side count the luck of the seeds as well as that of the images."
        )
        single = listed(f"`{name}`" for name in results.ranked.loc[results.ranked["replicates"] == 1, "variant"])
        texts.append(f"Of {single} there is one training, whose luck of the seed is not known." if single else "")
    elif len(pairs):
        texts.append("There is one training of each variant: another seed may order those that are close anew.")
    alone = int(pairs["test"].isin([ALONE, TRAININGS_ALONE]).sum())
    if alone:
        gone = listed(f"`{name}`" for name in results.ranked["variant"] if name not in answers)
        why = f"the predictions behind the accuracy of {gone} are not stored" if gone else "not on the same images"
        texts.append(f"By their accuracies alone, with wider intervals: {count(alone, 'pair')}, {why}.")
    return " ".join(filter(None, texts))
