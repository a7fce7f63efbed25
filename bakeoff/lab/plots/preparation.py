"""Figures, tables and sentences about what becomes of the pictures before a network sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bakeoff.lab.plots.gallery import gallery
from bakeoff.lab.plots.images import MOST_CLASSES, balance_bars, channel_names
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, listed, percent, short, text, whole
from bakeoff.lab.streams import generator

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared, View

_HELD_OUT = {
    "last": "the last share of the training images",
    "stratified": "a random share of the training images, of every class the same (stratified)",
}
CHANNEL_COLORS = {"red": COLORS[1], "green": COLORS[2], "blue": COLORS[0], "gray": "#666666"}


def before_and_after(view: View, positions: np.ndarray, names: Sequence[str], what: str) -> Figure:
    """Stored pictures above, what the network sees of them below (stretched to the visible range)."""
    stored, seen = view.raw(positions), view.batch(positions)
    low, high = float(seen.min()), float(seen.max())
    stretched = (seen - low) / max(high - low, 1e-9)
    titles = [[short(names[view.labels[position]], 14) for position in positions], [""] * len(positions)]
    beside = ("stored\n0 to 255", f"{what}\n{low:.3g} to {high:.3g}")
    return gallery([list(stored), list(stretched)], titles, beside, side=1.0)


def histogram(prepared: Prepared, most: int = 500) -> Figure:
    """How often each value occurs, stored and as the network sees it, in up to `most` training images."""
    positions = np.arange(min(most, len(prepared.train)))
    stored, seen = prepared.train.raw(positions), prepared.train.batch(positions)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.9))
    _draw_histogram(left, stored, "stored pixels", channel_names(stored.shape[-1]))
    reverse = prepared.train.transform.reverse
    _draw_histogram(right, seen, "what the network sees", channel_names(seen.shape[-1], reverse))
    left.set_ylabel("share of pixels")
    return figure


def task_words(prepared: Prepared, positive_class: str) -> str:
    """What is asked of the network, and how many images it has to learn that from."""
    if prepared.task == "labels_only":
        return "Nothing is trained: the network names what it sees by the labels that its weights were trained with."
    if prepared.task == "classes":
        return f"The network chooses one of {prepared.num_classes} classes."
    wanted, counts = prepared.class_names[1], np.bincount(prepared.train.labels, minlength=2)
    words = f"The question is **{text(wanted)} or not**, learned from {whole(counts[1])} images of it and "
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
        words.append(
            "**Validation and test images are not scaled**: they stay 0 to 255, so the network is judged on numbers "
            "unlike any that it was trained on."
        )
    return " ".join(words)


def statistics_table(prepared: Prepared) -> pd.DataFrame:
    """Smallest, largest, mean and standard deviation of each channel over the images trained on."""
    statistics = prepared.statistics
    columns = {"channel": channel_names(len(statistics["mean"]))}
    columns |= {"smallest": statistics["minimum"], "largest": statistics["maximum"], "mean": statistics["mean"]}
    return pd.DataFrame(columns | {"standard deviation": statistics["standard_deviation"]})


def split_table(prepared: Prepared) -> pd.DataFrame:
    """Images, first and last id, and fewest and most images of a class in each part."""
    rows = []
    for name, view in prepared.parts().items():
        counts = np.bincount(view.labels, minlength=prepared.num_classes)
        ends = {"first id": view.ids[0], "last id": view.ids[-1]} if len(view) else {}
        fewest = {"fewest of a class": int(counts.min()), "most of a class": int(counts.max())}
        rows.append({"part": name, "images": len(view), **ends, **fewest})
    return pd.DataFrame(rows)


def split_balance(prepared: Prepared) -> Figure:
    """Images of each class in each part, as shares of the part."""
    return balance_bars({name: view.labels for name, view in prepared.parts().items()}, prepared.class_names)


def split_words(prepared: Prepared) -> str:
    """Where validation comes from, which classes are not trained on, and whether any image is in two parts."""
    origin = {
        "none": "There is no validation part: nothing tells when the network begins to overfit.",
        "split": f"The validation part is {_HELD_OUT[prepared.validation_sampling]}; the network never trains on it.",
        "test": "**The validation part is the test set: a leak.** Whatever is chosen by it (an epoch, a setting) is "
        "chosen with knowledge of the test images, and the test figure is then no estimate for new images. It serves "
        "only to repeat what a source did.",
    }[prepared.validation_source]
    return " ".join([origin, *_unseen_words(prepared), _duplicate_words(prepared)])


def sixteen_forms(view: View, position: int, options: Mapping[str, Any], seed: int) -> Figure:
    """One stored picture and sixteen forms of it, as training would see it before scaling."""
    from bakeoff.lab.augmentation import augment

    image = np.repeat(view.raw([position]), 16, axis=0)
    # Position by position its own id, so that flips that alternate by epoch show both sides.
    forms = augment(image, generator(seed, "forms drawn"), options, seed=seed, ids=np.arange(16))
    rows = [[image[0], *forms[:8] / 255], [None, *forms[8:] / 255]]
    return gallery(rows, [["stored", *[""] * 8], [""] * 9], side=0.9)


def augmentation_words(options: Mapping[str, Any]) -> str:
    """The options in words, or that there are none."""
    if not any(options.values()):
        return (
            "`augmentation` asks for no random change of the images. What a way of training does to them of its own"
            " accord, such as mirroring each once, stands among the arguments of the training."
        )
    phrases = {
        "rotation_degrees": "turned by up to {} degrees to either side",
        "shift": "shifted by up to {} of the side",
        "shear_degrees": "sheared by up to {} degrees",
        "zoom": "zoomed by a factor of 1 ± {} along each axis",
        "horizontal_flip": "mirrored with a chance of one half",
        "crop_padding": "padded by {} reflected pixels and cropped at random",
        "alternating_flip": "mirrored in every second epoch",
    }
    used = [phrases[name].format(value) for name, value in options.items() if value]
    return f"Each time a training picture is used it is {listed(used)}. Validation and test pictures are left alone."


def _scaling_words(statistics: Mapping[str, Any]) -> dict[str, str]:
    lowest, highest = min(statistics["minimum"]), max(statistics["maximum"])
    mean, deviation = _numbers(statistics["mean"]), _numbers(statistics["standard_deviation"])
    return {
        "unit": "Each number is divided by 255.",
        "minmax": f"The smallest value of the training images, {lowest:.4g}, becomes 0, the largest, {highest:.4g}, 1.",
        "standardize": f"From each channel its mean ({mean}) is subtracted, and the rest is divided by its standard "
        f"deviation ({deviation}).",
        "symmetric": "0 becomes -1 and 255 becomes 1.",
        "caffe": "The order of the channels is turned to blue, green, red, and ImageNet's mean of each is subtracted, "
        "as the weights expect it.",
        "none": "The numbers stay 0 to 255.",
    }


def _numbers(values: Sequence[float]) -> str:
    return listed([f"{value:.1f}" for value in values])


def _unseen_words(prepared: Prepared) -> list[str]:
    """That a part has classes which no image trained on shows, if one has."""
    return [
        f"**The {part} images show {count(len(names), 'class', 'classes')} of which the training images have none "
        f"({listed(names, MOST_CLASSES)})**: no accuracy on them tells how well the network learned."
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
    text = f"**{listed(found)}**" if found else f"no image of one part ({listed(parts)}) is in another"
    text = f"Compared pixel by pixel, {text}."
    if twice := prepared.duplicates["training/training"]:
        text += f" {count(twice, 'training image')} {'is' if twice == 1 else 'are'} there more than once."
    return (
        f"{text} This finds exact copies only, and no near-duplicates: the same photograph scaled, cropped, "
        "recompressed or taken a moment later."
    )


def _draw_histogram(axes: Axes, images: np.ndarray, title: str, names: Sequence[str]) -> None:
    low, high = float(images.min()), float(images.max())
    margin = max((high - low) / 510, 1e-6)  # half a step of 0..255, so that every bar holds as many whole values
    edges = np.linspace(low - margin, high + margin, 33)
    for k, name in enumerate(names):
        counts, _ = np.histogram(images[..., k], edges)
        color = CHANNEL_COLORS.get(name, COLORS[k % len(COLORS)])
        axes.stairs(counts / max(1, counts.sum()), edges, color=color, label=name, linewidth=1.3)
    axes.set_title(f"{title} ({low:.3g} to {high:.3g})", fontsize=9)
    axes.set_xlabel("value")
    axes.legend(fontsize=8)
