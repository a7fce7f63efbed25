"""Figures, tables and sentences about the pictures as they were loaded, and how pictures are drawn on any page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bakeoff.lab.plots.gallery import gallery, show_pixels
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, listed, percent, short, text, whole
from bakeoff.lab.streams import generator

if TYPE_CHECKING:
    from bakeoff.lab.data import Dataset, Split

MOST_CLASSES = 20  # rows of a grid of pictures, bars of a chart: beyond that nobody can read them


# ---------------------------------------------------------------- load


def loaded_table(dataset: Dataset) -> pd.DataFrame:
    """What was loaded: name, version, counts, shape, ids."""
    height, width, channels = dataset.image_shape
    rows = {
        "data set": f"{dataset.name} {dataset.version}",
        "classes": f"{dataset.num_classes}: {listed(dataset.class_names, MOST_CLASSES)}",
        "image": f"{height} x {width} pixels, {_channel_words(channels)}, whole numbers from 0 to 255",
        "training images": _of(len(dataset.train), dataset.available["train"]),
        "test images": _of(len(dataset.test), dataset.available["test"]),
        "ids": f"{dataset.train.ids[0]} to {dataset.train.ids[-1]}; {dataset.test.ids[0]} to {dataset.test.ids[-1]}",
        "memory": f"{(dataset.train.images.nbytes + dataset.test.images.nbytes) / 1e6:.1f} MB, read only where used",
    }
    return pd.DataFrame({"what": rows.keys(), "value": rows.values()})


def loaded_words(dataset: Dataset) -> str:
    """Where the images come from, and what a reader must know about that."""
    from bakeoff.lab import shapes

    if dataset.name == shapes.NAME:
        return (
            f"These are **drawn pictures** ({shapes.NAME}), not photographs: the built-in stand-in for machines on "
            "which no data set can be had. Figures computed from them say nothing about any published result."
        )
    words = f"The images come from the TFDS data set {dataset.name}, version {dataset.version}."
    if dataset.test_split == "train":
        words += " It has no labelled test images: a **random fifth of its training images**, of every class the same"
        words += " share (stratified), is held out as the test set here, and never trained on."
    elif dataset.test_split != "test":
        words += f" It has no test split: its **{dataset.test_split}** split is the test set here."
    return " ".join([words, *dataset.notes])


def draw_examples(split: Split, num_classes: int, seed: int, most: int = 10) -> list[np.ndarray]:
    """For each class the positions of up to `most` of its images, drawn with the seed."""
    chance = generator(seed, "examples drawn")
    groups = [np.flatnonzero(split.labels == label) for label in range(min(num_classes, MOST_CLASSES))]
    return [chance.permutation(group)[:most] for group in groups]


def class_grid(dataset: Dataset, chosen: Sequence[np.ndarray]) -> Figure:
    """A row of pictures for each of the first classes; a class without images leaves its row empty."""
    columns = max(1, *(len(positions) for positions in chosen))
    rows = [[*dataset.train.images[positions], *[None] * (columns - len(positions))] for positions in chosen]
    return gallery(rows, names=[short(name) for name in dataset.class_names[: len(rows)]], side=0.5, size=9)


def grid_words(dataset: Dataset, chosen: Sequence[np.ndarray]) -> str:
    """What the grid of examples shows: how many images of which classes."""
    shown, classes = len(chosen), dataset.num_classes
    which = "each class" if shown == classes else f"each of the first {shown} of {classes} classes"
    most = max((len(positions) for positions in chosen), default=0)
    least = min((len(positions) for positions in chosen), default=0)
    images = count(most, "training image") if least == most else f"Up to {count(most, 'training image')}"
    names = listed((text(name) for name in dataset.class_names[:shown]), MOST_CLASSES)
    return f"{images} of {which} ({names}), drawn at random"


def balance(dataset: Dataset) -> Figure:
    """Training and test images of each class, as shares of their split."""
    counts = {"training": dataset.train.labels, "test": dataset.test.labels}
    return balance_bars(counts, dataset.class_names)


def balance_words(labels: np.ndarray, class_names: Sequence[str], what: str = "training images") -> str:
    """How evenly the classes are filled, and what the simplest guess would score."""
    counts = np.bincount(labels, minlength=len(class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    share = f"naming the commonest class every time would be right for {percent(counts[most] / counts.sum())} of them"
    if counts[least] == counts[most]:
        return f"Every class has {count(int(counts[most]), 'image')} of the {whole(len(labels))} {what}; {share}."
    missing = [text(name) for name, count in zip(class_names, counts, strict=True) if not count]
    words = f"Of the {whole(len(labels))} {what}, {text(class_names[most])} has the most ({whole(counts[most])}) and "
    words += f"{text(class_names[least])} the fewest ({whole(counts[least])}); {share}."
    return words + (f" **No image of {listed(missing, MOST_CLASSES)} is among them.**" if missing else "")


def channel_grid(image: np.ndarray, name: str) -> Figure:
    """One picture (h, w, c), and each of its channels as a gray picture with some of its numbers."""
    channels = image.shape[-1]
    names = channel_names(channels)
    figure, grid = plt.subplots(1, channels + 1, figsize=(2.6 * (channels + 1), 3.0), squeeze=False)
    draw_picture(grid[0, 0], image)
    grid[0, 0].set_title(short(name), fontsize=9)
    for k, axes in enumerate(grid[0, 1:]):
        draw_picture(axes, image[..., k : k + 1])
        axes.set_title(f"{names[k]}: {image[..., k].min()} to {image[..., k].max()}", fontsize=9)
        _write_numbers(axes, image[..., k])
    return figure


def channels_alt(image: np.ndarray) -> str:
    """The channels of a picture in words: name and range of each."""
    names = channel_names(image.shape[-1])
    return listed([f"{name} from {image[..., k].min()} to {image[..., k].max()}" for k, name in enumerate(names)])


def numbers_table(image: np.ndarray, channel: int = 0, side: int = 8) -> pd.DataFrame:
    """The numbers of one channel in the middle of a picture, `side` rows and columns of them."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    part = image[top : top + side, left : left + side, channel]
    frame = pd.DataFrame(part, columns=[str(left + k) for k in range(part.shape[1])])
    frame.insert(0, "row", np.arange(top, top + len(part)))
    return frame


# ---------------------------------------------------------------- words


def channel_names(count: int, reverse: bool = False) -> list[str]:
    """Names of the channels in their order."""
    names = {1: ["gray"], 3: ["red", "green", "blue"]}.get(count, [f"channel {k}" for k in range(count)])
    return names[::-1] if reverse else names


def _channel_words(channels: int) -> str:
    return "one channel (gray)" if channels == 1 else f"{channels} channels ({listed(channel_names(channels))})"


def _of(number: int, available: int) -> str:
    return whole(number) if number == available else f"{whole(number)} of {whole(available)}"


# ---------------------------------------------------------------- drawing


def draw_picture(axes: Axes, image: np.ndarray) -> None:
    """Draw (h, w, c): one channel in gray, three in colour, the first one of any other number."""
    show_pixels(axes, image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_numbers(axes: Axes, channel: np.ndarray, most: int = 4) -> None:
    """Some of the channel's numbers, written at their pixels: `most` rows and columns, evenly spaced."""
    rows, columns = (((np.arange(most) + 0.5) * length / most).astype(int) for length in channel.shape)
    for row in rows:
        for column in columns:
            value = int(channel[row, column])
            axes.text(
                column, row, str(value), fontsize=8, ha="center", va="center", color="black" if value > 127 else "white"
            )


def balance_bars(labels: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Images of every class, a chart for each part; of more than MOST_CLASSES classes not every bar has its name."""
    classes = len(class_names)
    height = max(1.6, 0.26 * min(classes, MOST_CLASSES) + 0.7)
    figure, grid = plt.subplots(1, len(labels), figsize=(2.9 * len(labels) + 0.8, height), sharey=True, squeeze=False)
    named = np.arange(0, classes, math.ceil(classes / MOST_CLASSES))
    for k, (axes, (part, values)) in enumerate(zip(grid[0], labels.items(), strict=True)):
        counts = np.bincount(values, minlength=classes)
        axes.barh(np.arange(classes), counts, color=COLORS[k % len(COLORS)], height=0.7)
        axes.set_yticks(named, [short(class_names[int(at)]) for at in named])
        axes.set_title(f"{part}: {count(len(values), 'image')}", fontsize=9)
        axes.set_xlabel("images")
        axes.grid(axis="y", visible=False)
    grid[0, 0].invert_yaxis()
    return figure
