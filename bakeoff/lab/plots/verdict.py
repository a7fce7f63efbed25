"""The comparison in sentences: who wins, how surely, at what cost, and what the figures are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bakeoff.lab.plots.words import count, duration, listed, percent, whole
from bakeoff.lab.results import STAND_IN, Results


def _name(row: pd.Series) -> str:
    return f"`{row['variant']}`" if row["title"] == row["variant"] else f"{row['title']} (`{row['variant']}`)"


def answer(results: Results, against: pd.DataFrame) -> str:
    """The result in a few sentences: the best, by how much, how surely, at what cost, with every reservation.

    `against` is `pairs.against_best` of every pair.
    """
    ranked = results.ranked
    if ranked.empty:
        sentences = [_no_ranking(results)]
    elif len(ranked) == 1:
        sentences = [
            _leader(ranked),
            "It is the only variant that can be ranked, so it beats nothing.",
            _cost(ranked),
        ]
    else:
        sentences = [_leader(ranked), _margin(ranked, against), _cost(ranked), _cheaper(ranked, against)]
    return "\n\n".join([" ".join(filter(None, sentences)), *reservations(results)])


def _no_ranking(results: Results) -> str:
    if results.rows.empty:
        return "**There is no result yet.**"
    if results.below.empty:
        return "**There is no winner:** no variant has finished."
    finished = count(len(results.below), "row")
    return f"**There is no winner:** {finished} finished, but none of them may be ranked; the reasons stand below."


def _leader(ranked: pd.DataFrame) -> str:
    best, first = ranked.iloc[0], ranked[ranked["rank"] == 1]
    interval = f"95 % interval {percent(best['accuracy_low'])} to {percent(best['accuracy_high'])}"
    where = f"on {count(int(best['test_images']), 'test image')}"
    accuracy = f"test accuracy {percent(best['test_accuracy'])}"
    if len(first) > 1:
        names = listed(_name(row) for _, row in first.iterrows())
        return f"**{names} share the first place**: {accuracy} {where} ({interval})."
    mean = f", the mean of {best['replicates']} trainings," if best["replicates"] > 1 else ""
    return f"**{_name(best)} is first**: {accuracy}{mean} {where} ({interval})."


def _margin(ranked: pd.DataFrame, against: pd.DataFrame) -> str:
    """By how much the first leads, and which variants cannot be told apart from it."""
    second, lead = ranked.iloc[1], against.iloc[0]
    interval = f"95 % interval {100 * lead['low']:+.1f} to {100 * lead['high']:+.1f}"
    text = ""
    if lead["difference"] > 0:
        text = f"That is {100 * lead['difference']:.1f} percentage points more than {_name(second)}, the second "
        text += f"({interval}; {lead['test']}). "
    equal = [f"`{name}`" for name in against.loc[~against["told_apart"].astype(bool), "variant"]]
    best = f"`{ranked['variant'][0]}`"
    if equal:
        return (
            f"{text}On these images **{best} cannot be told apart from {listed(equal)}**: chance could order them so."
        )
    if len(against) == 1:
        return f"{text}Chance does not explain that."
    return f"{text}{best} can be told apart from every other."


def _cost(ranked: pd.DataFrame) -> str:
    best = ranked.iloc[0]
    each = " each time" if best["replicates"] > 1 else ""
    costs = [f"{duration(best['train_seconds'])} of training{each}"] if best["train_seconds"] > 0 else []
    if not np.isnan(best["parameters"]):
        costs.append(f"{whole(best['parameters'])} parameters")
    if not np.isnan(best["milliseconds_per_image"]):
        costs.append(f"{best['milliseconds_per_image']:.1f} ms for one image")
    return f"Cost of `{best['variant']}`: {listed(costs)}." if costs else ""


def _cheaper(ranked: pd.DataFrame, against: pd.DataFrame) -> str:
    """The cheapest training among the first and the variants that cannot be told apart from it."""
    equal = against.loc[~against["told_apart"].astype(bool), "variant"]
    candidates = ranked[ranked["variant"].isin([ranked["variant"][0], *equal]) & (ranked["train_seconds"] > 0)]
    if len(candidates) < 2:
        return ""
    cheapest, best = candidates.loc[candidates["train_seconds"].idxmin()], ranked.iloc[0]
    if cheapest["variant"] == best["variant"]:
        return "Of these it is also the cheapest to train."
    seconds, ratio = cheapest["train_seconds"], best["train_seconds"] / cheapest["train_seconds"]
    less = f", {ratio:.1f} times less" if ratio >= 1.05 else ", hardly less"
    return f"The cheapest of these is `{cheapest['variant']}`: {duration(seconds)}{less}."


def reservations(results: Results) -> list[str]:
    """What to hold against the figures: stand-in data, limited runs, missing weights, leaks, failures."""
    rows, finished = results.rows, results.rows[results.rows["status"] == "ok"]
    texts = []
    if (rows["dataset"] == STAND_IN).any():
        texts.append(
            f"**Stand-in data.** The pictures are `{STAND_IN}`, drawn by a program in place of photographs. "
            "The pipeline is shown to work; nothing here says how these networks do on real pictures."
        )
    limited = finished[finished["limited"] != ""]["variant"].nunique()
    if limited:
        who = "Every variant" if limited == finished["variant"].nunique() else f"{limited} of the finished variants"
        texts.append(
            f"**Limited runs.** {who} departed from the catalogue's schedule: a longer run may order them anew."
        )
    if random := finished[finished["weights"] == "random"]["variant"].nunique():
        texts.append(f"**Weights missing.** {count(random, 'variant')} ran on random weights and cannot be judged.")
    if leaks := finished[finished["validation_source"] == "test"]["variant"].nunique():
        texts.append(f"**A leak.** {count(leaks, 'variant')} used the test set for validation, as the source does.")
    if len(results.failed):
        texts.append(f"**Not finished.** {count(len(results.failed), 'row')} failed or could not start.")
    return texts


def gap_words(results: Results) -> str:
    """The widest gap between training and test accuracy among the ranked variants."""
    rows = results.ranked.dropna(subset=["train_accuracy", "test_accuracy"])
    if rows.empty:
        return "No ranked variant has both a training and a test accuracy."
    gaps = (rows["train_accuracy"] - rows["test_accuracy"]).sort_values()
    widest = rows.loc[gaps.index[-1]]
    text = f"{widest['variant']}: {100 * gaps.iloc[-1]:+.1f} points from training to test accuracy"
    if len(rows) == 1:
        return f"{text}."
    narrowest = rows.loc[gaps.index[0], "variant"]
    return f"The widest gap is that of {text}; the narrowest, {100 * gaps.iloc[0]:+.1f}, that of {narrowest}."


def recall_words(recalls: pd.DataFrame) -> str:
    """The class that the variants find least often, and the one they disagree on most."""
    known = recalls.dropna(axis=1, how="all")
    if known.empty:
        return "No ranked variant has a report of its classes."
    hardest = known.mean().idxmin()
    text = f"Hardest on average: {hardest} ({percent(known[hardest].mean())} found)."
    ranges = known.max() - known.min()
    if len(known) > 1 and ranges.max() > 0:
        widest = ranges.idxmax()
        least, most = known[widest].idxmin(), known[widest].idxmax()
        text += f" The variants differ most on {widest}: {least} finds {percent(known.loc[least, widest])}, "
        text += f"{most} {percent(known.loc[most, widest])}."
    return text
