"""The result in sentences: who leads, by how much, how significantly, at what cost; all from the table's rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bakeoff.lab.plots.words import count, duration, listed, percent, points, text, whole
from bakeoff.lab.ranking import is_cut
from bakeoff.lab.results import SYNTHETIC, Results


def answer(results: Results, versus: pd.DataFrame) -> str:
    """The result in a few sentences; `versus` is `pairs.versus_best` of every pair."""
    ranked = results.ranked
    if ranked.empty:
        return _no_ranking(results)
    if len(ranked) == 1:
        alone = f"**There is no ranking:** {_name(ranked.iloc[0])} is the only variant that can be ranked"
        return f"{alone}: {_score(ranked)}. {_cost(ranked)}"
    sentences = [_leader(ranked), _margin(ranked, versus), _cost(ranked), _cheaper(ranked, versus)]
    return " ".join(filter(None, sentences))


def _no_ranking(results: Results) -> str:
    if results.rows.empty:
        return "**There is no result yet.**"
    if results.unranked.empty:
        return "**There is no winner:** no variant has finished."
    finished = count(len(results.unranked), "row")
    return f"**There is no winner:** {finished} finished, but none of them may be ranked; the reasons stand below."


def _name(row: pd.Series) -> str:
    return f"`{row['variant']}`" if row["title"] == row["variant"] else f"{text(row['title'])} (`{row['variant']}`)"


def _score(ranked: pd.DataFrame) -> str:
    best = ranked.iloc[0]
    interval = f"95 % interval {percent(best['accuracy_low'])} to {percent(best['accuracy_high'])}"
    mean = f", the mean of {best['replicates']} trainings," if best["replicates"] > 1 else ""
    where = f"on {count(int(best['test_images']), 'test image')}"
    return f"test accuracy {percent(best['test_accuracy'])}{mean} {where} ({interval})"


def _leader(ranked: pd.DataFrame) -> str:
    """Who leads; in a limited run with its limits and what they put in doubt."""
    first = ranked[ranked["rank"] == 1]
    who = listed(_name(row) for _, row in first.iterrows())
    leads = f"share the first place of {len(ranked)}" if len(first) > 1 else f"leads {len(ranked)}"
    synthetic, cut = (ranked["dataset"] == SYNTHETIC).any(), ranked["limited"].map(is_cut).any()
    on = listed(["synthetic images"] * bool(synthetic) + ["cut schedules"] * bool(cut))
    doubt = "CIFAR-10 may differ" if synthetic else "whole schedules may differ"
    words = f"On {on}, {who} {leads} ranked variants; {doubt}" if on else f"{who} {leads} ranked variants"
    return f"**{words}**: {_score(ranked)}."


def _margin(ranked: pd.DataFrame, versus: pd.DataFrame) -> str:
    """By how much the first leads, which variants do not differ significantly from it, and what that rests on."""
    second, lead = ranked.iloc[1], versus.iloc[0]
    words = ""
    if lead["difference"] > 0:
        size = points(lead["first_accuracy"], lead["second_accuracy"])
        interval = f"{100 * lead['low']:+.1f} to {100 * lead['high']:+.1f}; {lead['test']}"
        words = f"That is {size} percentage points above `{second['variant']}`, the second ({interval}). "
    significant = versus["significant"].astype(bool)
    equal = [f"`{name}`" for name in versus.loc[~significant, "variant"]]
    best = f"`{ranked['variant'][0]}`"
    if equal:
        return f"{words}On these images **{best} does not differ significantly from {listed(equal)}**."
    single = (significant & ~versus["seeds_counted"].astype(bool)).any()
    differs = f"{best} differs significantly from every other" if len(versus) > 1 else "The difference is significant"
    rests = " on these images; where there is one training of a side, another seed could reverse it" if single else ""
    return f"{words}{differs}{rests}."


def _cost(ranked: pd.DataFrame) -> str:
    best = ranked.iloc[0]
    each = " each time" if best["replicates"] > 1 else ""
    costs = [f"{duration(best['train_seconds'])} of training{each}"] if best["train_seconds"] > 0 else []
    if not np.isnan(best["parameters"]):
        costs.append(f"{whole(best['parameters'])} parameters")
    if not np.isnan(best["milliseconds_per_image"]):
        costs.append(f"{best['milliseconds_per_image']:.1f} ms for one image")
    return f"Cost of `{best['variant']}`: {listed(costs)}." if costs else ""


def _cheaper(ranked: pd.DataFrame, versus: pd.DataFrame) -> str:
    """The cheapest training among the first and the variants that do not differ significantly from it."""
    equal = versus.loc[~versus["significant"].astype(bool), "variant"]
    candidates = ranked[ranked["variant"].isin([ranked["variant"][0], *equal]) & (ranked["train_seconds"] > 0)]
    if len(candidates) < 2:
        return ""
    cheapest, best = candidates.loc[candidates["train_seconds"].idxmin()], ranked.iloc[0]
    if cheapest["variant"] == best["variant"]:
        return "Of these it is also the cheapest to train."
    ratio = best["train_seconds"] / cheapest["train_seconds"]
    less = f", {ratio:.1f} times less" if ratio >= 1.05 else ", hardly less"
    return f"The cheapest of these is `{cheapest['variant']}`: {duration(cheapest['train_seconds'])}{less}."
