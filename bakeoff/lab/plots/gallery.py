"""Many images in one figure, on one pair of axes in inches: axes of their own for each take most of a page's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

GAP = 0.06  # inches between neighbours
_POINTS = 72  # an inch
_WIDE = 0.6  # of a letter's height: what it takes across


def gallery(
    rows: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[Sequence[str]] = (),
    names: Sequence[str] = (),
    colors: Sequence[Sequence[str]] = (),
    side: float = 1.3,
    size: float = 8,
) -> Figure:
    """Rows of images (h, w, c), `side` inches each; None leaves a place empty.

    `titles` (of the shape of `rows`) stand above the images, in `colors`; `names` beside the rows.
    `size` is that of the letters, in points.
    """
    titles = titles or [[""] * len(row) for row in rows]
    above = [max((lines_high(title, size) for title in row), default=0.0) for row in titles]
    left = max((_across(name, size) for name in names), default=0.0)
    columns = max(map(len, rows), default=1)
    width, height = left + columns * (side + GAP) + GAP, sum(above) + len(above) * (side + GAP) + GAP
    figure, axes = sheet(width, height)
    top = GAP
    for at, (row, words, space) in enumerate(zip(rows, titles, above, strict=True)):
        top += space
        if names:
            write(axes, left - GAP, top + side / 2, names[at], size, ha="right", va="center")
        for column, (image, title) in enumerate(zip(row, words, strict=True)):
            x = left + GAP + column * (side + GAP)
            if image is not None:
                place(axes, image, x, top, side)
            color = colors[at][column] if colors else "black"
            write(axes, x + side / 2, top - GAP / 2, title, size, ha="center", va="bottom", color=color)
        top += side + GAP
    return figure


def in_rows(items: Sequence[Any] | np.ndarray, columns: int) -> list[list[Any]]:
    """The items in rows of `columns`, the last one shorter."""
    return [list(items[start : start + columns]) for start in range(0, len(items), columns)]


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure whose axes are in inches, from the upper left corner."""
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def place(axes: Axes, image: np.ndarray, left: float, top: float, side: float) -> None:
    """An image (h, w, c) in the middle of a square of a sheet."""
    height, width = (side * length / max(image.shape[:2]) for length in image.shape[:2])
    left, top = left + (side - width) / 2, top + (side - height) / 2
    show_pixels(axes, image, extent=(left, left + width, top + height, top), aspect="auto")


def show_pixels(axes: Axes, image: np.ndarray, **options: Any) -> None:
    """imshow of (h, w, c): three channels in colour, else the first one in gray; bytes, or numbers from 0 to 1."""
    image = image if image.shape[-1] == 3 else image[..., 0]
    top = 255 if image.dtype == np.uint8 else 1
    axes.imshow(image if top == 255 else np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=top, **options)


def write(axes: Axes, x: float, y: float, words: str, size: float, **options: Any) -> None:
    """Words at a place of a sheet; nothing where there are none."""
    if words:
        axes.text(x, y, words, fontsize=size, linespacing=1.15, **options)


def lines_high(words: str, size: float) -> float:
    """Inches that the lines of `words` take; none for no words."""
    return (words.count("\n") + 1) * 1.25 * size / _POINTS + GAP / 2 if words else 0.0


def _across(words: str, size: float) -> float:
    """Inches that the longest line takes, about."""
    return max(map(len, words.splitlines()), default=0) * _WIDE * size / _POINTS + 2 * GAP
