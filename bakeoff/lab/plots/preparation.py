"""Sentences about the split, the scaling and the augmentation of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bakeoff.lab.plots.images import MOST_CLASSES, channel_names
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, listed, percent, text, whole

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared

_HELD_OUT = {"last": "the last share of the training images", "stratified": "a stratified share of the training images"}
_COLORS = {"red": COLORS[1], "green": COLORS[2], "blue": COLORS[0], "gray": "#666666"}


def colors(channels: Sequence[str]) -> list[str]:
    """A colour for each channel, its own where it has one."""
    return [_COLORS.get(name, COLORS[k % len(COLORS)]) for k, name in enumerate(channels)]


def task_words(prepared: Prepared, positive_class: str) -> str:
    """What is asked of the network, and how many images it has to learn that from."""
    if prepared.task == "labels_only":
        return "Nothing is trained: the network predicts the labels that its weights were trained with."
    if prepared.task == "classes":
        return f"The network chooses one of {prepared.num_classes} classes."
    wanted, counts = prepared.class_names[1], np.bincount(prepared.train.labels, minlength=2)
    words = f"Binary: **{text(wanted)} or not**, learned from {whole(counts[1])} images of it and "
    words += f"{whole(counts[0])} others."
    if positive_class and wanted != positive_class:
        words += f" The data have no class {text(positive_class)}, so their first class takes its place."
    share = np.mean(prepared.test.labels == 1)
    return f"{words} Of the test images, {percent(share)} show it: read the balanced accuracy beside the accuracy."


def transform_words(prepared: Prepared, color: str, scaling: str) -> str:
    """What happens to a pixel, in one or two sentences with the numbers that were measured."""
    transform, statistics = prepared.train.transform, prepared.statistics
    channels = prepared.train.images.shape[-1]
    words = []
    if transform.gray_weights is not None:
        parts = zip(transform.gray_weights, channel_names(channels), strict=True)
        words.append("Gray is " + " + ".join(f"{weight:g} x {name}" for weight, name in parts) + ".")
    elif color == "gray":
        words.append("The images have one channel already; no weighting was needed.")
    words.append(_scaling_words(statistics)[scaling])
    if transform.repeat > 1:
        words.append(f"The one channel is given {transform.repeat} times.")
    if prepared.test.transform != transform:
        words.append("**Validation and test images are not scaled**: they stay 0 to 255.")
    return " ".join(words)


def split_words(prepared: Prepared) -> str:
    """Where validation comes from, which classes are not trained on, and whether any image is in two parts."""
    origin = {
        "none": "Validation: none.",
        "split": f"Validation: {_HELD_OUT[prepared.validation_sampling]}.",
        "test": "**The validation images are the test images: a leak.**",
    }[prepared.validation_source]
    return " ".join([origin, *_unseen_words(prepared), _duplicate_words(prepared)])


def augmentation_words(options: Mapping[str, Any]) -> str:
    """The options in words, or that there are none."""
    phrases = {
        "rotation_degrees": "rotated by up to {} degrees",
        "shift": "shifted by up to {} of the side",
        "shear_degrees": "sheared by up to {} degrees",
        "zoom": "zoomed by a factor of 1 ± {} along each axis",
        "horizontal_flip": "flipped with probability 0.5",
        "crop_padding": "padded by {} reflected pixels and cropped at random",
        "alternating_flip": "flipped in every second epoch",
        "cutout": "cut out by a square of {} pixels that takes the image's mean colour",
    }
    used = [phrases[name].format(value) for name, value in options.items() if value]
    return f"Training images are {listed(used)}." if used else "`augmentation` is empty."


def _scaling_words(statistics: Mapping[str, Any]) -> dict[str, str]:
    lowest, highest = min(statistics["minimum"]), max(statistics["maximum"])
    mean, deviation = _numbers(statistics["mean"]), _numbers(statistics["standard_deviation"])
    return {
        "unit": "Pixels are divided by 255.",
        "minmax": f"Pixels: (x - {lowest:.4g}) / {highest - lowest:.4g}, the range of the training images.",
        "standardize": f"Pixels: (x - mean) / standard deviation, each channel by its own ({mean}; {deviation}).",
        "symmetric": "Pixels: x / 127.5 - 1.",
        "caffe": "Pixels: blue, green, red, minus ImageNet's mean of each.",
        "none": "Pixels stay 0 to 255.",
    }


def _numbers(values: Sequence[float]) -> str:
    return listed([f"{value:.1f}" for value in values])


def _unseen_words(prepared: Prepared) -> list[str]:
    """That a part has classes which no image trained on shows, if one has."""
    return [
        f"**The {part} images show {count(len(names), 'class', 'classes')} of which the training images have none "
        f"({listed(map(text, names), MOST_CLASSES)})**: no accuracy on them tells how well the network learned."
        for part, names in prepared.unseen_classes(prepared.train.labels).items()
    ]


def _duplicate_words(prepared: Prepared) -> str:
    """Which parts share images, as far as their pixels tell."""
    parts = list(prepared.parts()) if prepared.validation_source != "test" else ["training", "test"]
    between = {pair: number for pair, number in prepared.duplicates.items() if len(set(pair.split("/"))) > 1}
    found = [
        f"{count(number, 'image')} of the {pair.split('/')[1]} part {'is' if number == 1 else 'are'} in the "
        f"{pair.split('/')[0]} part too"
        for pair, number in between.items()
        if number
    ]
    words = f"**{listed(found)}**." if found else f"No exact duplicates between {listed(parts)}."
    if twice := prepared.duplicates["training/training"]:
        words += f" {count(twice, 'training image')} {'is' if twice == 1 else 'are'} there more than once."
    return words
