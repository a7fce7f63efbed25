"""Figures of the comparison. A variant has the same colour and marker in every one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

from bakeoff.lab.plots.evaluation import MOST_ANNOTATED, MOST_TICKS
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, duration, percent, points, short, whole
from bakeoff.lab.results import Results, comparable, of_equal_threads

MARKERS = "osD^vPX<>"  # with eight colours, 72 variants before a pair repeats
COST_LABELS = {"train_seconds": "training time in seconds", "parameters": "parameters"}
NAME_SIZE = 7  # points
PANEL_VARIANTS = 6
ANGLES = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200)  # where a name goes, most readable first
Style = tuple[str, str]
Point = tuple[float, float]


def styles(results: Results) -> dict[str, Style]:
    """Colour and marker of every variant, by its place in results.csv."""
    variants = dict.fromkeys(results.rows["variant"])
    return {name: (COLORS[at % len(COLORS)], MARKERS[at % len(MARKERS)]) for at, name in enumerate(variants)}


def frontier(costs: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Positions, cheapest first, of the points that no cheaper (or equally cheap) point reaches or beats."""
    order = np.lexsort((-accuracies, costs))
    best, kept = -math.inf, []
    for at in order:
        if accuracies[at] > best:
            best = accuracies[at]
            kept.append(at)
    return np.array(kept, int)


def accuracy_against(results: Results, column: str) -> Figure:
    """Test accuracy of each variant against a cost (logarithmic), with names, intervals and the best frontier.

    Filled: ranked. Hollow: not part of the frontier, since it is not ranked, or since its seconds are those of another
    number of threads and do not compare.
    """
    rows = _compared(comparable(results), column)
    rows = rows[rows[column] > 0].reset_index(drop=True)
    if rows.empty:
        return _empty("No variant has both an accuracy and this cost.")
    figure, axes = plt.subplots(figsize=(7.2, 4.6))
    axes.set_xscale("log")
    look = styles(results)
    for _, row in rows.iterrows():
        _draw_point(axes, row, column, look[row["variant"]])
    best = rows[rows["compares"]]
    edge = best.iloc[frontier(best[column].to_numpy(), best["test_accuracy"].to_numpy())]
    corners = _corners(edge[column].tolist(), edge["test_accuracy"].tolist(), rows[column].max())
    axes.plot(*zip(*corners, strict=True) if corners else ([], []), color="#777777", linewidth=1, zorder=1)
    axes.set(xlabel=COST_LABELS.get(column, column), ylabel="test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.margins(x=0.15, y=0.12)
    if axes.get_ylim()[1] - axes.get_ylim()[0] < 0.1:
        middle = rows["test_accuracy"].mean()
        axes.set_ylim(middle - 0.06, middle + 0.06)
    _legend_of_kinds(axes, rows)
    lines = list(pairwise(corners))
    lines += [((row[column], row["accuracy_low"]), (row[column], row["accuracy_high"])) for _, row in best.iterrows()]
    name_points(figure, rows[column].to_numpy(), rows["test_accuracy"].to_numpy(), list(rows["variant"]), lines)
    return figure


def _compared(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """`rows` with `compares`: whether a row is ranked and its cost is of the same kind as that of most."""
    ranked = rows["ranked"].astype(bool)
    same = of_equal_threads(rows[ranked]) if column == "train_seconds" else ranked
    return rows.assign(compares=ranked & same.reindex(rows.index, fill_value=False))


def _corners(costs: list[float], accuracies: list[float], end: float) -> list[Point]:
    """The frontier as a staircase, up to the highest cost."""
    corners: list[Point] = []
    for at, (cost, accuracy) in enumerate(zip(costs, accuracies, strict=True)):
        following = costs[at + 1] if at + 1 < len(costs) else end
        corners += [(cost, accuracy), (following, accuracy)]
    return corners


def frontier_words(results: Results, column: str) -> str:
    """The ranked variants that no cheaper one reaches, cheapest first."""
    every = _compared(results.ranked.assign(ranked=True), column)
    every = every[every[column] > 0]
    rows = every[every["compares"]]
    if rows.empty:
        return "No ranked variant has both an accuracy and this cost."
    edge = rows.iloc[frontier(rows[column].to_numpy(), rows["test_accuracy"].to_numpy())]
    read = duration if column == "train_seconds" else whole
    steps = [f"{row['variant']} ({read(row[column])}, {percent(row['test_accuracy'])})" for _, row in edge.iterrows()]
    text = f"No cheaper ranked variant reaches these, cheapest first: {', '.join(steps)}."
    others = list(every.loc[~every["compares"], "variant"])
    if not others:
        return text
    threads = count(int(rows["threads"].iloc[0]), "thread")
    return f"{text} Compared are trainings on {threads}; those of {', '.join(others)} had another number."


def _draw_point(axes: Axes, row: pd.Series, column: str, look: Style) -> None:
    color, marker = look
    if row["ranked"]:
        bounds = [row["accuracy_low"], row["accuracy_high"]]
        axes.plot([row[column]] * 2, bounds, color=color, linewidth=1, alpha=0.6, zorder=2)
    face = color if row["compares"] else "none"
    axes.plot(row[column], row["test_accuracy"], marker, color=color, markerfacecolor=face, markersize=6, zorder=3)


def _legend_of_kinds(axes: Axes, rows: pd.DataFrame) -> None:
    handles = []
    if rows["ranked"].any():
        handles.append(Line2D([], [], color="#777777", linewidth=1, label="best at or below a cost"))
    if not rows["compares"].all():
        hollow: dict[str, Any] = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "color": "black"}
        why = ["not ranked"] * (not rows["ranked"].all()) + ["other threads"] * bool(
            (rows["ranked"] & ~rows["compares"]).any()
        )
        handles.append(Line2D([], [], label=f"hollow: {' or '.join(why)}", **hollow))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, borderaxespad=0.2)


def name_points(
    figure: Figure, x: np.ndarray, y: np.ndarray, names: Sequence[str], lines: Sequence[tuple[Point, Point]] = ()
) -> None:
    """Write each name near its point, where it covers least of the points, names and upright or level lines."""
    axes = figure.axes[0]
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    centres = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(px - 5, py - 5, 10, 10) for px, py in centres]
    for ends in lines:
        (left, low), (right, high) = np.sort(axes.transData.transform(ends), axis=0)
        taken.append(Bbox.from_extents(left - 1, low - 1, right + 1, high + 1))
    for at in np.argsort(-centres[:, 1], kind="stable"):
        text = axes.text(0, 0, names[at], fontsize=NAME_SIZE)
        size = text.get_window_extent()
        text.remove()
        box = _freest(centres[at], size.width, size.height, taken, axes.bbox)
        taken.append(box)
        offset = (box.x0 - centres[at][0]) / scale, (box.y0 - centres[at][1]) / scale
        line: dict[str, Any] = {"arrowstyle": "-", "color": "#AAAAAA", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        near = math.hypot(*_to_box(centres[at], box)) < 12 * scale
        axes.annotate(
            names[at], (x[at], y[at]), xytext=offset, textcoords="offset points", fontsize=NAME_SIZE,
            arrowprops=None if near else line, annotation_clip=False,
        )  # fmt: skip


def _to_box(point: np.ndarray, box: Bbox) -> tuple[float, float]:
    """Distance of a point from a box along both axes, 0 inside."""
    across = max(box.x0 - point[0], 0.0, point[0] - box.x1)
    return across, max(box.y0 - point[1], 0.0, point[1] - box.y1)


def _freest(point: np.ndarray, width: float, height: float, taken: list[Bbox], frame: Bbox) -> Bbox:
    """The place around a point where a box of this size overlaps least: near ones first, then further out."""
    places: list[tuple[float, float, int, Bbox]] = []
    for distance in (7.0, 16.0, 28.0, 42.0, 60.0):
        for angle in np.radians(ANGLES):
            x = point[0] + math.cos(angle) * (distance + width / 2) - width / 2
            y = point[1] + math.sin(angle) * (distance + height / 2) - height / 2
            box = Bbox.from_bounds(x, y, width, height)
            overlap = sum(_overlap(box, other) for other in taken)
            outside = width * height - _overlap(box, frame)
            places.append((overlap + 3 * outside, distance, len(places), box))
    return min(places, key=lambda place: place[:3])[3]


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0.0) * max(height, 0.0)


def _empty(text: str) -> Figure:
    figure, axes = plt.subplots(figsize=(7.0, 0.7))
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def training_curves(results: Results, histories: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Accuracy by epoch, a panel a family: validation solid with markers, training dashed; later trainings pale."""
    rows = results.rows.drop_duplicates("variant")
    rows = rows[rows["variant"].isin(list(histories))]
    if rows.empty:
        return _empty("No variant has a training history.")
    panels = _panels(rows)
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    size = (2.9 * columns + 0.4 if columns > 1 else 5.0, 2.7 * lines + 0.4)
    figure, grid = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    look = styles(results)
    for axes, (title, variants) in zip(grid.flat, panels, strict=False):
        for variant in variants:
            for training, history in enumerate(histories[variant]):
                _draw_history(axes, history, "_" if training else variant, look[variant], 0.4 if training else 1.0)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.legend(fontsize=6, loc="lower right")
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return figure


def _panels(rows: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Families with their variants, large ones in several panels."""
    panels = []
    for family, members in rows.groupby("family", sort=False):
        names = list(members["variant"])
        parts = math.ceil(len(names) / PANEL_VARIANTS)
        for part in range(parts):
            number = f" ({part + 1} of {parts})" if parts > 1 else ""
            panels.append((f"{family or 'all'}{number}", names[part * PANEL_VARIANTS : (part + 1) * PANEL_VARIANTS]))
    return panels


def _draw_history(axes: Axes, history: pd.DataFrame, name: str, look: Style, alpha: float) -> None:
    drawn: dict[str, Any] = {"color": look[0], "alpha": alpha}
    marked: dict[str, Any] = {"marker": look[1], "markersize": 4, "markevery": max(1, len(history) // 8), "label": name}
    validated = "validation_accuracy" in history and history["validation_accuracy"].notna().any()
    if "train_accuracy" in history:
        end: dict[str, Any] = {"label": "_"} if validated else {**marked, "markerfacecolor": "none"}
        axes.plot(history["epoch"], history["train_accuracy"], "--", linewidth=1, **drawn, **end)
    if validated:
        axes.plot(history["epoch"], history["validation_accuracy"], linewidth=1.4, **drawn, **marked)


def gap_rows(results: Results) -> pd.DataFrame:
    """The rows of `comparable` that have a `gap`: points from test to training accuracy as printed, largest last."""
    rows = comparable(results).dropna(subset=["train_accuracy", "test_accuracy"])
    pairs = zip(rows["train_accuracy"], rows["test_accuracy"], strict=True)
    rows = rows.assign(gap=np.array([float(points(train, test, sign=True)) for train, test in pairs]))
    return rows.sort_values("gap", kind="stable", ignore_index=True)


def gaps(results: Results, rows: pd.DataFrame) -> Figure:
    """Training (bar) and test accuracy (marker) of each of the `gap_rows`, joined by a line; largest gap first."""
    if rows.empty:
        return _empty("No variant has both a training and a test accuracy.")
    figure, axes = plt.subplots(figsize=(7.0, 0.26 * len(rows) + 1.1))
    look = styles(results)
    for place, row in rows.iterrows():
        color, marker = look[row["variant"]]
        face = color if row["ranked"] else "none"
        axes.plot([row["train_accuracy"], row["test_accuracy"]], [place, place], color=color, linewidth=2, alpha=0.5)
        axes.plot(row["train_accuracy"], place, "|", color=color, markersize=11, markeredgewidth=2)
        axes.plot(row["test_accuracy"], place, marker, color=color, markersize=6, markerfacecolor=face)
        right = max(row["train_accuracy"], row["test_accuracy"])
        note: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(f"{row['gap']:+.1f}", (right, place), **note)
    axes.set_yticks(range(len(rows)), [_label(row) for _, row in rows.iterrows()], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("accuracy: | training, marker test")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return figure


def _label(row: pd.Series) -> str:
    return str(row["variant"]) if row["ranked"] else f"{row['variant']} (not ranked)"


def recall_map(results: Results, recalls: pd.DataFrame) -> Figure:
    """Recall of every class by every variant as a heat map, the best ranked variant on top."""
    if recalls.empty:
        return _empty("No variant has a report of its classes.")
    classes, variants = recalls.shape[1], len(recalls)
    size = (min(10.0, 0.45 * classes + 3.0), min(12.0, 0.28 * variants + 1.6))
    figure, axes = plt.subplots(figsize=size)
    image = axes.imshow(recalls.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if classes <= MOST_ANNOTATED:
        for (row, column), share in np.ndenumerate(recalls.to_numpy()):
            if not np.isnan(share):
                color = "white" if share > 0.55 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=7)
    unranked = set(recalls.index) - set(results.ranked["variant"])
    names = [f"{name} (not ranked)" if name in unranked else str(name) for name in recalls.index]
    ticks = np.arange(0, classes, math.ceil(classes / MOST_TICKS))
    small = 6 if classes > 20 else 8
    axes.set_xticks(ticks, [short(recalls.columns[at]) for at in ticks], rotation=90, fontsize=small)
    axes.set_yticks(range(variants), names, fontsize=8 if variants <= 25 else 6)
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="recall")
    return figure
