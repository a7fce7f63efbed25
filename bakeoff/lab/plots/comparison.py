"""Tables of the comparison: the ranking, what is not ranked and why, the departures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bakeoff.lab.plots.words import count, duration, percent, points, whole
from bakeoff.lab.results import STAND_IN, Results, of_equal_threads

LONGEST_MESSAGE = 500


def _share(share: float) -> str:
    return "" if np.isnan(share) else percent(share)


def ranking(results: Results, against: pd.DataFrame, letters: Mapping[str, str]) -> pd.DataFrame:
    """The ranked variants with accuracy, interval, group, distance behind the first, cost and notes, as text.

    Where some variant has several trainings, also how many and the standard deviation of their accuracies.
    """
    ranked = results.ranked
    behind = against.set_index("variant")
    frame = pd.DataFrame(
        {
            "rank": ranked["rank"],
            "variant": ranked["variant"],
            "group": [letters[variant] for variant in ranked["variant"]],
            "test accuracy": [_share(share) for share in ranked["test_accuracy"]],
            "95 % interval": [
                f"{100 * low:.1f} to {100 * high:.1f}"
                for low, high in zip(ranked["accuracy_low"], ranked["accuracy_high"], strict=True)
            ],
            "points behind the first": [_behind(behind, ranked.iloc[0], row) for _, row in ranked.iterrows()],
            "parameters": [whole(number) for number in ranked["parameters"]],
            "training": _trainings(ranked),
            "ms an image": ["" if np.isnan(ms) else f"{ms:.1f}" for ms in ranked["milliseconds_per_image"]],
            "note": [_note(row) for _, row in ranked.iterrows()],
        }
    )
    if (ranked["replicates"] > 1).any():
        frame.insert(4, "trainings", ranked["replicates"])
        frame.insert(5, "standard deviation", ["" if np.isnan(s) else f"{100 * s:.2f}" for s in ranked["spread"]])
    return frame


def ranking_caption(results: Results) -> str:
    """What the numbers of the ranking are of: how many test images, how many trainings."""
    ranked = results.ranked
    least, most = ranked["replicates"].min(), ranked["replicates"].max()
    trainings = (
        "one training each" if most == 1 else f"means of {least if least == most else f'{least} to {most}'} trainings"
    )
    text = f"Ranked variants, best first: {count(int(ranked['test_images'].iloc[0]), 'test image')}, {trainings}"
    text += "; differences and deviations in percentage points."
    return f"{text} Variants that share a letter do not differ significantly. {_threads(ranked)}".rstrip()


def _trainings(ranked: pd.DataFrame) -> list[str]:
    """How long each was trained; with its threads where they are not the same for all."""
    times = [duration(seconds) for seconds in ranked["train_seconds"]]
    if of_equal_threads(ranked).all():
        return times
    known = ranked["threads"].notna()
    words = [
        f" on {count(int(n), 'thread')}" if there else "" for n, there in zip(ranked["threads"], known, strict=True)
    ]
    return [f"{time}{word}" for time, word in zip(times, words, strict=True)]


def _threads(ranked: pd.DataFrame) -> str:
    """On how many threads the variants were trained, or that their times do not all compare."""
    if not of_equal_threads(ranked).all():
        return "Times of training on different numbers of threads do not compare."
    threads = ranked["threads"].iloc[0]
    return "" if np.isnan(threads) else f"All were trained on {count(int(threads), 'thread')}."


def _behind(behind: pd.DataFrame, first: pd.Series, row: pd.Series) -> str:
    if row["variant"] not in behind.index:
        return ""
    pair = behind.loc[row["variant"]]
    size = points(first["test_accuracy"], row["test_accuracy"])
    return f"{size} ({100 * pair['low']:+.1f} to {100 * pair['high']:+.1f})"


def _note(row: pd.Series) -> str:
    notes = ["limited"] * bool(row["limited"]) + ["stand-in data"] * (row["dataset"] == STAND_IN)
    notes += ["validated on the test set"] * (row["validation_source"] == "test")
    if row["search_seconds"] > 0:
        notes.append(f"after a search of {duration(row['search_seconds'])}")
    return ", ".join(notes)


def below(results: Results) -> pd.DataFrame:
    """Finished rows that are not ranked, each with the reason."""
    rows = results.below
    frame = pd.DataFrame({"variant": rows["label"], "test accuracy": [_share(s) for s in rows["test_accuracy"]]})
    if (rows["task"] == "binary").any():
        frame["balanced accuracy"] = [_share(share) for share in rows["balanced_accuracy"]]
    return frame.assign(
        **{"training": [duration(s) for s in rows["train_seconds"]], "why it is not ranked": rows["reason"]}
    )


def failed(results: Results) -> pd.DataFrame:
    """Failed and blocked rows with the first line of their message."""
    rows = results.failed
    first = [(message.splitlines() or ["no message"])[0] for message in rows["message"]]
    short = [text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…" for text in first]
    return pd.DataFrame({"variant": rows["label"], "status": rows["status"], "message": short})


def departures(results: Results) -> pd.DataFrame:
    """What each variant's run changed in the catalogue's schedule; empty when none did."""
    rows = results.rows[results.rows["limited"] != ""].drop_duplicates(["variant", "limited"])
    return pd.DataFrame({"variant": rows["variant"], "departs from the catalogue by": rows["limited"]})
