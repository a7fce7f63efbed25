"""The comparison in sentences: who wins, how surely, at what cost, and what the figures are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bakeoff.lab.plots.words import count, duration, listed, percent, points, text, whole
from bakeoff.lab.results import STAND_IN, Results


def _name(row: pd.Series) -> str:
    return f"`{row['variant']}`" if row["title"] == row["variant"] else f"{text(row['title'])} (`{row['variant']}`)"


def answer(results: Results, against: pd.DataFrame) -> str:
    """The result in a few sentences: the best, by how much, how surely, at what cost, with every reservation.

    `against` is `pairs.against_best` of every pair.
    """
    ranked = results.ranked
    if ranked.empty:
        sentences = [_no_ranking(results)]
    elif len(ranked) == 1:
        sentences = [_alone(ranked), _cost(ranked)]
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


def _alone(ranked: pd.DataFrame) -> str:
    """One variant that may be ranked is no ranking."""
    return f"**There is no ranking:** {_name(ranked.iloc[0])} is the only variant that can be ranked: {_score(ranked)}."


def _score(ranked: pd.DataFrame) -> str:
    best = ranked.iloc[0]
    interval = f"95 % interval {percent(best['accuracy_low'])} to {percent(best['accuracy_high'])}"
    mean = f", the mean of {best['replicates']} trainings," if best["replicates"] > 1 else ""
    where = f"on {count(int(best['test_images']), 'test image')}"
    return f"test accuracy {percent(best['test_accuracy'])}{mean} {where} ({interval})"


def _leader(ranked: pd.DataFrame) -> str:
    """Who is first; of a limited run only with its limits."""
    best, first = ranked.iloc[0], ranked[ranked["rank"] == 1]
    if len(first) > 1:
        names = listed(_name(row) for _, row in first.iterrows())
        return f"{_limits(ranked)}**{names} share the first place**: {_score(ranked)}."
    if limits := _limits(ranked):
        others = "whole schedules" + (" on the data set itself" if (ranked["dataset"] == STAND_IN).any() else "")
        led = f"**{limits}{_name(best)} leads {len(ranked)} ranked variants**"
        return f"{led}: {_score(ranked)}. With {others} the order may be another one."
    return f"**{_name(best)} is first**: {_score(ranked)}."


def _limits(ranked: pd.DataFrame) -> str:
    """What a leader of a limited run leads on; empty for whole schedules on the data named."""
    parts = ["synthetic images"] * bool((ranked["dataset"] == STAND_IN).any())
    parts += ["cut schedules"] * bool((ranked["limited"] != "").any())
    return f"On {listed(parts)}, " if parts else ""


def _margin(ranked: pd.DataFrame, against: pd.DataFrame) -> str:
    """By how much the first leads, which variants do not differ significantly from it, and what that rests on."""
    second, lead = ranked.iloc[1], against.iloc[0]
    interval = f"95 % interval {100 * lead['low']:+.1f} to {100 * lead['high']:+.1f}"
    text = ""
    if lead["difference"] > 0:
        size = points(lead["first_accuracy"], lead["second_accuracy"])
        text = f"That is {size} percentage points more than {_name(second)}, the second ({interval}; {lead['test']}). "
    apart = against["told_apart"].astype(bool)
    equal = [f"`{name}`" for name in against.loc[~apart, "variant"]]
    best = f"`{ranked['variant'][0]}`"
    if equal:
        return f"{text}On these images **{best} does not differ significantly from {listed(equal)}**."
    single = int((apart & ~against["seeds_counted"].astype(bool)).sum())
    differs = f"{best} differs significantly from every other" if len(against) > 1 else "The difference is significant"
    rests = " on these images; where there is one training of a side, another seed could reverse it" if single else ""
    return f"{text}{differs}{rests}."


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
    texts += _leaks(finished[finished["validation_source"] == "test"])
    if len(results.failed):
        texts.append(f"**Not finished.** {count(len(results.failed), 'row')} failed or could not start.")
    return texts


def _leaks(leaking: pd.DataFrame) -> list[str]:
    """How many variants used the test set for validation, and how many of them because their source does."""
    variants = leaking.drop_duplicates("variant")
    if variants.empty:
        return []
    sourced = int((variants["source"] != "").sum())
    text = f"**A leak.** {count(len(variants), 'variant')} used the test set for validation"
    if sourced == len(variants):
        return [f"{text}, as {'its source does' if sourced == 1 else 'their sources do'}."]
    return [
        f"{text}, {sourced} of them as {'its source does' if sourced == 1 else 'their sources do'}."
        if sourced
        else f"{text}."
    ]


def gap_words(rows: pd.DataFrame) -> str:
    """The widest gap between training and test accuracy, and that nearest to zero, of `gap_rows`."""
    if rows.empty:
        return "No variant has both a training and a test accuracy."

    def of(at: int) -> str:
        return f"{rows.loc[at, 'variant']} ({rows.loc[at, 'gap']:+.1f})"

    if len(rows) == 1:
        return f"From training to test accuracy, in points: {of(rows.index[0])}."
    widest, narrowest = rows["gap"].abs().idxmax(), rows["gap"].abs().idxmin()
    return f"The widest gap, in points, is that of {of(widest)}; nearest to zero, {of(narrowest)}."


def recall_words(recalls: pd.DataFrame) -> str:
    """The class that the variants find least often, and the one they disagree on most."""
    known = recalls.dropna(axis=1, how="all")
    if known.empty:
        return "No variant has a report of its classes."
    hardest = known.mean().idxmin()
    words = f"Hardest on average: {text(hardest)} ({percent(known[hardest].mean())} found)."
    ranges = known.max() - known.min()
    if len(known) > 1 and ranges.max() > 0:
        widest = ranges.idxmax()
        least, most = known[widest].idxmin(), known[widest].idxmax()
        words += f" The variants differ most on {text(widest)}: {least} finds {percent(known.loc[least, widest])}, "
        words += f"{most} {percent(known.loc[most, widest])}."
    return words
