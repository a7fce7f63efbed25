"""Sentences about images and classes, and how both are drawn on any page."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from bakeoff.lab.plots.gallery import show_pixels
from bakeoff.lab.plots.words import count, listed, percent, short, text, whole

if TYPE_CHECKING:
    from bakeoff.lab.data import Dataset

_SOURCES = {
    "tfds": "The images come from the TFDS data set {name}, version {version}.",
    "npz": "The images come from a file of NumPy arrays, {name}.",
    "folder": "The images come from image files in folders, {name}.",
    "hf": "The images come from the Hugging Face hub, {name}.",
    "csv": "The images come from image files that a table lists, {name}.",
}
MOST_CLASSES = 20  # rows of a grid of images, names along an axis: beyond that nobody can read them


def loaded_words(dataset: Dataset) -> str:
    """Where the images come from, and what a reader must know about that."""
    from bakeoff.lab import shapes

    if dataset.kind == "synthetic":
        return (
            f"The images are the **synthetic fallback data set** {shapes.NAME}: generated shapes, not photographs. "
            "Figures computed from them say nothing about any published result."
        )
    words = _SOURCES[dataset.kind].format(name=text(dataset.name), version=text(dataset.version))
    if dataset.test_split == "train":
        words += " It has no labelled test images: a **random fifth of its training images**, of every class the same"
        words += " share (stratified), is held out as the test set here, and never trained on."
    elif dataset.test_split != "test":
        words += f" It has no test split: its **{dataset.test_split}** split is the test set here."
    return " ".join([words, *map(text, dataset.notes)])


def problem_words(dataset: Dataset) -> str:
    """The problem statement: input, output, and the measure."""
    height, width, channels = dataset.image_shape
    classes, counts = len(dataset.class_names), np.bincount(dataset.test.labels)
    commonest = percent(counts.max() / counts.sum())
    return (
        f"Given an image of {height} × {width} pixels in {count(channels, 'channel')}, predict which one of {classes} "
        f"classes it shows. A network is judged by its **accuracy** on {count(len(dataset.test.labels), 'test image')} "
        f"that it was not trained on; always predicting the commonest class scores {commonest}. The"
        " questions: which network has the highest accuracy, at what cost in training time and parameters, and do "
        "the figures hold that the sources print for theirs?"
    )


def missing_words(dataset: Dataset) -> str:
    """Which images this copy lacks of those that the published description of a TFDS set counts; empty where none."""
    if dataset.kind != "tfds":
        return ""
    info = published_info(dataset.name)
    counts = re.findall(r"(\d+) (training|test) images", info.description or "" if info else "")
    roles = {"training": "train", "test": "test"}
    lacks = [
        f"{whole(dataset.available[roles[role]])} of the {whole(int(count))} {role} images"
        for count, role in counts
        if dataset.available[roles[role]] < int(count) and dataset.test_split == "test"
    ]
    return f"This copy of {text(dataset.name)} has {listed(lacks)}." if lacks else ""


def published_info(name: str) -> Any:
    """What TFDS' own builder says of a data set, whatever a copy says of itself; None where there is no builder."""
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as nothing_prepared:
        try:
            return tfds.builder(name, data_dir=nothing_prepared).info
        except (tfds.core.DatasetNotFoundError, ValueError):
            return None


def balance_words(labels: np.ndarray, class_names: Sequence[str], what: str = "training images") -> str:
    """How evenly the classes are filled, and what the simplest guess would score."""
    counts = np.bincount(labels, minlength=len(class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    share = f"always predicting the commonest class would be right for {percent(counts[most] / counts.sum())} of them"
    if counts[least] == counts[most]:
        return f"Every class has {count(int(counts[most]), 'image')} of the {whole(len(labels))} {what}; {share}."
    missing = [text(name) for name, count in zip(class_names, counts, strict=True) if not count]
    words = f"Of the {whole(len(labels))} {what}, {text(class_names[most])} has the most ({whole(counts[most])}) and "
    words += f"{text(class_names[least])} the fewest ({whole(counts[least])}); {share}."
    return words + (f" **No image of {listed(missing, MOST_CLASSES)} is among them.**" if missing else "")


def channel_names(count: int, reverse: bool = False) -> list[str]:
    """Names of the channels in their order."""
    names = {1: ["gray"], 3: ["red", "green", "blue"]}.get(count, [f"channel {k}" for k in range(count)])
    return names[::-1] if reverse else names


def class_ticks(class_names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Positions and names of the classes on an axis; of more than MOST_CLASSES only every n-th one."""
    positions = np.arange(0, len(class_names), math.ceil(len(class_names) / MOST_CLASSES))
    return positions, [short(class_names[int(position)]) for position in positions]


def height_for(class_names: Sequence[str]) -> float:
    """Inches of a chart with a group of bars for each class, as far as there is room for names."""
    return max(2.0, 0.34 * min(len(class_names), MOST_CLASSES) + 0.7)


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw (h, w, c): one channel in gray, three in colour, the first one of any other number."""
    show_pixels(axes, image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
