"""Diagrams of the background chapter: boxes and arrows, without numbers."""

from __future__ import annotations

import itertools

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from bakeoff.lab.plots.page import COLORS

Point = tuple[float, float]
FROZEN, TRAINED, PLAIN = "#DDDDDD", COLORS[4], "white"


def search_loop() -> Figure:
    """The tuner's loop: propose, train, score, keep, and the test images outside of it."""
    figure, axes = _canvas(7.2, 2.7)
    places: list[tuple[Point, str, str]] = [
        ((1.1, 2.2), "propose", "values from\nthe search space"),
        ((1.1, 0.6), "train", "a few epochs on the\ntraining images"),
        ((3.75, 0.6), "score", "accuracy on the\nvalidation images"),
        ((3.75, 2.2), "keep", "every trial, and\nthe best so far"),
    ]
    for place, title, text in places:
        _box(axes, place, title, text, TRAINED)
    for (start, *_), (end, *_) in zip(places, [*places[1:], places[0]], strict=True):
        _arrow(axes, start, end)
    _box(axes, (6.6, 2.2), "best values", "trained in full", PLAIN)
    _box(axes, (6.6, 0.6), "test images", "used once,\nafter all choices", PLAIN)
    _arrow(axes, (3.75, 2.2), (6.6, 2.2))
    _arrow(axes, (6.6, 2.2), (6.6, 0.6))
    axes.text(2.43, 1.4, "again, until the\ntrials are used up", ha="center", va="center", style="italic")
    return figure


def transfer() -> Figure:
    """Feature extraction above, fine-tuning below: which part is frozen and which is trained."""
    figure, axes = _canvas(7.2, 2.9)
    for height, label, base, words in (
        (2.1, "feature extractor", FROZEN, "frozen:\nruns once an image"),
        (0.55, "fine-tuning", TRAINED, "trained on,\nin small steps"),
    ):
        parts: list[tuple[Point, str, str, str]] = [
            ((0.85, height), "image", "enlarged,\nwhere needed", PLAIN),
            ((2.85, height), "base", words, base),
            ((4.8, height), "features", "numbers that\ndescribe it", PLAIN),
            ((6.75, height), "head", "new: trained\non our classes", TRAINED),
        ]
        for place, title, text, color in parts:
            _box(axes, place, title, text, color, width=1.6)
        for (start, *_), (end, *_) in itertools.pairwise(parts):
            _arrow(axes, start, end, width=1.6)
        axes.text(0.1, height + 0.64, label, weight="bold", va="center")
    return figure


def mcnemar(axes: Axes) -> None:
    """Draw the table of two networks A and B on the same images, and what each of its fields says."""
    cells = {
        (0, 1): ("both right", "says nothing", "#EEEEEE"),
        (1, 1): ("only A right", "speaks for A", COLORS[4]),
        (0, 0): ("only B right", "speaks for B", COLORS[5]),
        (1, 0): ("both wrong", "says nothing", "#EEEEEE"),
    }
    for (column, row), (what, meaning, color) in cells.items():
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor="white", linewidth=2))
        axes.text(column + 0.5, row + 0.58, what, ha="center", weight="bold")
        axes.text(column + 0.5, row + 0.34, meaning, ha="center")
    axes.set(xlim=(0, 2), ylim=(0, 2))
    axes.set_xticks([0.5, 1.5], ["B right", "B wrong"])
    axes.set_yticks([0.5, 1.5], ["A wrong", "A right"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


_ARROW = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
_HEIGHT = 0.95


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(xlim=(0, 7.7), ylim=(0.05, 2.95))
    axes.axis("off")
    return figure, axes


def _box(axes: Axes, place: Point, title: str, text: str, color: str, width: float = 2.0) -> None:
    corner = (place[0] - width / 2, place[1] - _HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, width, _HEIGHT, boxstyle=style, facecolor=color, edgecolor="#444444"))
    axes.text(place[0], place[1] + 0.27, title, ha="center", va="center", weight="bold")
    axes.text(place[0], place[1] - 0.14, text, ha="center", va="center", fontsize=8.5, linespacing=1.15)


def _arrow(axes: Axes, start: Point, end: Point, width: float = 2.0) -> None:
    """An arrow between the edges of two boxes that stand beside or above each other."""
    across = (end[0] > start[0]) - (end[0] < start[0])
    up = (end[1] > start[1]) - (end[1] < start[1])
    half = (across * width / 2, up * _HEIGHT / 2)
    tail = (start[0] + half[0], start[1] + half[1])
    axes.annotate("", (end[0] - half[0], end[1] - half[1]), tail, arrowprops=_ARROW)
