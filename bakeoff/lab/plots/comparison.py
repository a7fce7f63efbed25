"""What the comparison's cells need besides pandas and seaborn: tables with their units, axes in words, titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bakeoff.lab.plots.words import count, duration, percent, points, short, whole
from bakeoff.lab.predictions import Panel
from bakeoff.lab.results import Results, of_equal_threads

LONGEST_MESSAGE = 500
MOST_PAIRS = 15  # in the table; of more, those of neighbours in the ranking
SMALLEST_P = 0.0001  # p values below it are not printed
SHOWN = 6  # images of a kind
REVERSIBLE = "one side has a single training, and another seed could reverse it"
COSTS = {"train_seconds": ("training time", duration), "parameters": ("parameters", whole)}
# Symbol -> the note that it stands for in the ranking
NOTES = {
    "†": "with overrides of the published schedule",
    "‡": "validated on the test images, as in its source or by its settings",
    "§": "after a hyperparameter search, whose time is not in the training time",
}


def interval(low: float, high: float) -> str:
    """An interval of an accuracy, in percent."""
    return f"{100 * low:.1f} to {100 * high:.1f}"


def ranking(results: Results, versus: pd.DataFrame, letters: Mapping[str, str]) -> pd.DataFrame:
    """The ranked variants as text: accuracy with its interval, group, distance behind the first, cost and notes.

    Where some variant has several trainings, also how many and the standard deviation of their accuracies. A column
    of notes that says nothing is left out.
    """
    ranked, pair = results.ranked, versus.set_index("variant")
    rows = [row for _, row in ranked.iterrows()]
    frame = pd.DataFrame({"rank": ranked["rank"], "variant": ranked["variant"]})
    frame["test accuracy"] = [
        f"{percent(row['test_accuracy'])} ({interval(row['accuracy_low'], row['accuracy_high'])})" for row in rows
    ]
    if (ranked["replicates"] > 1).any():
        frame["trainings"] = ranked["replicates"]
        frame["standard deviation"] = ["" if np.isnan(s) else f"{100 * s:.2f}" for s in ranked["spread"]]
    frame["group"] = [letters.get(name, "") for name in ranked["variant"]]
    frame["points behind the first"] = [_behind(pair, rows[0], row) for row in rows]
    frame["parameters"] = ranked["parameters"].map(whole)
    frame["training"] = _trainings(ranked)
    frame["ms an image"] = ["" if np.isnan(ms) else f"{ms:.1f}" for ms in ranked["milliseconds_per_image"]]
    frame["note"] = _notes(ranked)
    return frame if (frame["note"] != "").any() else frame.drop(columns="note")


def ranking_caption(results: Results) -> str:
    """What the numbers of the ranking are of, and what its symbols stand for."""
    ranked = results.ranked
    least, most = ranked["replicates"].min(), ranked["replicates"].max()
    trainings = (
        "one training each" if most == 1 else f"means of {least if least == most else f'{least} to {most}'} trainings"
    )
    images = count(int(ranked["test_images"].iloc[0]), "test image")
    text = f"Ranked variants, best first: {images}, {trainings}; in brackets 95 % intervals."
    marks, every = _marks(ranked)
    text += "".join(f" All {NOTES[mark]}." for mark in every)
    text += "".join(f" {mark} {NOTES[mark]}." for mark in marks if mark not in every and marks[mark].any())
    if not of_equal_threads(ranked).all():
        return f"{text} Times of training on different numbers of threads do not compare."
    threads = ranked["threads"].iloc[0]
    return text if np.isnan(threads) else f"{text} All were trained on {count(int(threads), 'thread')}."


def _marks(ranked: pd.DataFrame) -> tuple[dict[str, pd.Series], list[str]]:
    """Which rows each symbol is for, and the symbols that are for all of several rows."""
    columns = (ranked["limited"] != "", ranked["validation_source"] == "test", ranked["search_seconds"] > 0)
    marks = dict(zip(NOTES, columns, strict=True))
    return marks, [mark for mark, rows in marks.items() if len(ranked) > 1 and rows.all()]


def _notes(ranked: pd.DataFrame) -> list[str]:
    marks, every = _marks(ranked)
    shown = {mark: rows for mark, rows in marks.items() if mark not in every}
    return ["".join(mark for mark, rows in shown.items() if rows[at]) for at in ranked.index]


def _trainings(ranked: pd.DataFrame) -> list[str]:
    """How long each was trained; with its threads where they are not the same for all."""
    times = [duration(seconds) for seconds in ranked["train_seconds"]]
    if of_equal_threads(ranked).all():
        return times
    threads = ["" if np.isnan(n) else f" on {count(int(n), 'thread')}" for n in ranked["threads"]]
    return [f"{time}{words}" for time, words in zip(times, threads, strict=True)]


def _behind(versus: pd.DataFrame, first: pd.Series, row: pd.Series) -> str:
    if row["variant"] not in versus.index:
        return ""
    pair = versus.loc[row["variant"]]
    size = points(first["test_accuracy"], row["test_accuracy"])
    return f"{size} ({100 * pair['low']:+.1f} to {100 * pair['high']:+.1f})"


def unranked(results: Results) -> pd.DataFrame:
    """Finished rows that are not ranked, each with the reason."""
    rows = results.unranked
    frame = pd.DataFrame({"variant": rows["label"]})
    frame["test accuracy"] = ["" if np.isnan(share) else percent(share) for share in rows["test_accuracy"]]
    if (rows["task"] == "binary").any():
        frame["balanced accuracy"] = ["" if np.isnan(share) else percent(share) for share in rows["balanced_accuracy"]]
    return frame.assign(training=rows["train_seconds"].map(duration), **{"why it is not ranked": rows["reason"]})


def failed(results: Results) -> pd.DataFrame:
    """Failed and blocked rows with the first line of their message."""
    rows = results.failed
    first = [(message.splitlines() or ["no message"])[0] for message in rows["message"]]
    cut = [text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…" for text in first]
    return pd.DataFrame({"variant": rows["label"], "status": rows["status"], "message": cut})


def overrides(results: Results) -> pd.DataFrame:
    """What each variant's run changed in its published schedule; empty when none did."""
    rows = results.rows[results.rows["limited"] != ""].drop_duplicates(["variant", "limited"])
    return pd.DataFrame({"variant": rows["variant"], "overrides": rows["limited"]})


def pairs(tests: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Each pair with difference, interval and p values; of many pairs only those of neighbours in the ranking."""
    place = {name: at for at, name in enumerate(names)}
    near = tests["second"].map(place) - tests["first"].map(place) == 1
    rows = list((tests if len(tests) <= MOST_PAIRS else tests[near]).itertuples())
    frame = pd.DataFrame({"pair": [f"{row.first} and {row.second}" for row in rows]})
    frame["difference in points"] = [
        f"{points(row.first_accuracy, row.second_accuracy, sign=True)} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"
        for row in rows
    ]
    frame["p"] = [p_text(row.p_value) for row in rows]
    frame["p after Holm"] = [p_text(row.corrected) for row in rows]
    frame["significantly different"] = [
        "no" if not row.significant else "yes" if row.seeds_counted else "on these images" for row in rows
    ]
    return frame if tests["test"].nunique() < 2 else frame.assign(test=[row.test for row in rows])


def pairs_caption(tests: pd.DataFrame) -> str:
    """Which pairs stand in the table, and by what test."""
    which = "Every pair" if len(tests) <= MOST_PAIRS else f"Neighbours in the ranking, of {count(len(tests), 'pair')}"
    text = f"{which}: p values before and after Holm's correction; {', '.join(tests['test'].unique())}."
    marked = (tests["significant"] & ~tests["seeds_counted"].astype(bool)).any()
    return f"{text} On these images: {REVERSIBLE}." if marked else text


def p_text(p_value: float) -> str:
    """A p value as papers print it."""
    return f"< {SMALLEST_P}" if p_value < SMALLEST_P else f"{p_value:.4f}"


def columns(axes: Axes, table: pd.DataFrame, widths: Sequence[float]) -> None:
    """Write the columns of a table to the right of a chart that has a row for each of the table's; widths in inches."""
    inches, x = axes.get_window_extent().width / axes.figure.dpi, 1.0
    style: dict[str, Any] = {"va": "center", "fontsize": 8, "clip_on": False}
    for name, width in zip(table.columns, widths, strict=True):
        x += 0.12 / inches
        axes.text(x, 1.01, name, transform=axes.transAxes, **{**style, "va": "bottom"})
        for row, value in enumerate(table[name]):
            axes.text(x, row, str(value), transform=axes.get_yaxis_transform(), **style)
        x += width / inches


def cost_axis(axes: Axes, column: str) -> None:
    """A logarithmic axis whose ticks read as the text writes them: 3 min, 12 230 010."""
    label, shown = COSTS[column]
    axes.set(xscale="log", xlabel=label)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=7, rotation=30)


def hard_images(panel: Panel) -> dict[str, tuple[str, np.ndarray]]:
    """The kinds of images that divide the networks, each with its caption and the places of a few."""
    networks = len(panel.names)
    if not networks:
        return {}
    kinds = {
        "missed": (f"Images that all {networks} networks miss, with their most frequent predictions.", panel.missed),
        "alone": ("Images that one network alone gets right, with what the others predict.", panel.alone),
        "mistaken": ("The most confident mistakes, one an image.", panel.mistaken),
    }
    used = kinds if networks > 1 else {"mistaken": kinds["mistaken"]}
    return {kind: (caption, places[:SHOWN]) for kind, (caption, places) in used.items() if len(places)}


def titles(panel: Panel, places: np.ndarray, names: Sequence[str], kind: str) -> list[str]:
    """The words above each image: its true class, and what was predicted; `kind` is missed, alone or mistaken."""
    lines = []
    for at in places.tolist():
        right, predicted = panel.correct[:, at], panel.predicted[:, at]
        if kind == "mistaken":
            network = int(np.where(right, -1, panel.confidence[:, at]).argmax())
            confidence = percent(float(panel.confidence[network, at]))
            words = [panel.names[network], f"{short(names[predicted[network]])} {confidence}"]
        else:
            wrong = Counter(predicted[~right].tolist()).most_common(2)
            words = [f"{votes} × {short(names[label])}" for label, votes in wrong]
        if kind == "alone":
            words = [f"✓ {panel.names[int(right.argmax())]}", *words]
        lines.append("\n".join([f"true: {short(names[panel.labels[at]])}", *words]))
    return lines
