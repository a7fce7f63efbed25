"""Figures of the background chapter that are drawn from numbers; the diagrams are in theory_diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bakeoff.lab.plots import theory
from bakeoff.lab.plots.gallery import gallery
from bakeoff.lab.plots.images import show_image
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.theory_diagrams import mcnemar
from bakeoff.lab.plots.words import whole

SIGNED = "PuOr"  # from orange over white to purple, told apart by colour-blind readers
MARKED = (13, 11)  # row and column of the response whose sum is written out
STYLES = ("-", "--", ":")


def classes(images: np.ndarray, names: Sequence[str]) -> Figure:
    """An image of each class with its name below."""
    figure, grid = plt.subplots(2, (len(images) + 1) // 2, figsize=(7.0, 3.3))
    for axes, image, name in zip(grid.flat, images, names, strict=False):
        show_image(axes, image)
        axes.set_xlabel(name)
    return figure


# ---------------------------------------------------------------- layers


def convolution(values: np.ndarray, kernels: Mapping[str, np.ndarray]) -> Figure:
    """A gray image (h, w), and for each kernel its weights and its response."""
    size = (7.0, 2.5 * len(kernels))
    figure, grid = plt.subplots(len(kernels), 3, figsize=size, squeeze=False, width_ratios=(1, 0.62, 1.13))
    for row, (name, kernel) in zip(grid, kernels.items(), strict=True):
        _map(row[0], values, "input", cmap="gray", vmin=0, vmax=1)
        _map(row[1], kernel, f"kernel: {name}", cmap=SIGNED, vmin=-4, vmax=4)
        _write(row[1], kernel, "{:g}")
        response = theory.convolve(values, kernel)
        largest = np.abs(response).max()
        _map(row[2], response, "response", cmap=SIGNED, vmin=-largest, vmax=largest)
        figure.colorbar(row[2].images[0], ax=row[2], shrink=0.85)
        _frame(row[0], MARKED, kernel.shape[0])
        _frame(row[2], MARKED, 1, color="black")
    return figure


def convolution_words(values: np.ndarray, name: str) -> str:
    """The sum at the marked place, written out, and how the size changes."""
    kernel = theory.KERNELS[name]
    size, (row, column) = len(kernel), MARKED
    window = values[row : row + size, column : column + size]
    products = [(weight, value) for weight, value in zip(kernel.flat, window.flat, strict=True) if weight]
    terms = [f"{'-' if weight < 0 else '+'} {abs(weight):g} × {value:.2f}" for weight, value in products]
    response = theory.convolve(values, kernel)
    words = f"At the framed place the kernel for {name} gives {' '.join(terms)} = {response[MARKED]:.2f}. "
    return words + f"From {_size(values)} pixels a kernel of {_size(kernel)} makes a response of {_size(response)}."


def pooling(values: np.ndarray) -> Figure:
    """A small map before pooling, and after max and average pooling of 2 x 2."""
    pooled = {"max pooling": theory.pool(values, np.max), "average pooling": theory.pool(values, np.mean)}
    figure, panels = plt.subplots(1, 3, figsize=(7.0, 2.6))
    for axes, (title, shown) in zip(panels, {"before": values, **pooled}.items(), strict=True):
        _map(axes, shown, f"{title}: {_size(shown)}", cmap="Blues", vmin=0, vmax=values.max() * 1.7)
        _write(axes, shown, "{:.1f}")
    for row in range(0, len(values), 2):
        for column in range(0, values.shape[1], 2):
            _frame(panels[0], (row, column), 2, color="#333333", width=1.0)
    return figure


def pooling_words(values: np.ndarray) -> str:
    """What becomes of the largest value and its three neighbours."""
    place = np.unravel_index(values.argmax(), values.shape)
    row, column = (int(k) // 2 for k in place)
    most, mean = (theory.pool(values, take)[row, column] for take in (np.max, np.mean))
    words = f"The largest value, {values.max():.1f}, stands for its block as it is after max pooling ({most:.1f}); "
    return words + f"average pooling makes {mean:.1f} of it and its three neighbours."


def activation_and_softmax(names: Sequence[str], logits: np.ndarray) -> Figure:
    """The activation functions; the logits of a few classes; their softmax."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.7), width_ratios=(1.25, 1, 1))
    values = np.linspace(-3, 3, 121)
    for (name, result), style in zip(theory.activations(values).items(), STYLES, strict=True):
        left.plot(values, result, style, label=name, linewidth=1.8)
    left.set(xlabel="sum in", ylabel="value out")
    _title(left, "activations")
    left.legend(loc="upper left")
    _bars(middle, names, logits, "logits", "{:+.1f}")
    _bars(right, names, theory.softmax(logits), "softmax", "{:.3f}")
    right.set_yticklabels([])
    return figure


def softmax_words(names: Sequence[str], logits: np.ndarray) -> str:
    """The probabilities, and their sum."""
    found = theory.softmax(logits)
    pairs = zip(names, logits, found, strict=True)
    parts = [f"{name} has the logit {logit:g} and gets {share:.3f}" for name, logit, share in pairs]
    return f"{', '.join(parts)}; together that is {found.sum():.3f}.".capitalize()


def dropout(values: np.ndarray, masks: np.ndarray) -> Figure:
    """A layer's values (h, w), what three masks of (n, h, w) leave of them, and the mean over all n."""
    figure, panels = plt.subplots(1, 5, figsize=(7.2, 1.95))
    shown = {"without dropout": values}
    shown |= {f"step {step + 1}": values * masks[step] for step in range(3)}
    shown[f"mean of {whole(len(masks))}"] = values * masks.mean(axis=0)
    for axes, (title, result) in zip(panels, shown.items(), strict=True):
        _map(axes, result, title, cmap="Blues", vmin=0, vmax=values.max() * masks.max())
    figure.colorbar(panels[-1].images[0], ax=panels, shrink=0.8)
    return figure


def normalization(sums: np.ndarray, normalized: np.ndarray) -> Figure:
    """The distribution of each unit's sums over a batch (n, units), before and after BatchNorm."""
    figure, panels = plt.subplots(1, 2, figsize=(7.0, 2.9), sharey=True)
    for axes, values, title in zip(panels, (sums, normalized), ("before BatchNorm", "after BatchNorm"), strict=True):
        drawn = axes.boxplot(values, whis=(0, 100), patch_artist=True, widths=0.6, medianprops={"color": "black"})
        for box in drawn["boxes"]:
            box.set_facecolor(COLORS[4])
        axes.set_xlabel("unit")
        _title(axes, title)
    panels[0].set_ylabel("value")
    return figure


def normalization_words(sums: np.ndarray, normalized: np.ndarray) -> str:
    """The ranges of means and standard deviations over the units."""
    parts = []
    for values in (sums, normalized):
        mean, spread = values.mean(axis=0) + 0.0, values.std(axis=0)
        words = f"from {mean.min():.2f} to {mean.max():.2f} and the standard deviations from {spread.min():.2f}"
        parts.append(f"{words} to {spread.max():.2f}")
    return f"Before, the units' means go {parts[0]}; after, the means go {parts[1]}.".replace("-0.00", "0.00")


# ---------------------------------------------------------------- training and judging


def descent(paths: Mapping[str, np.ndarray]) -> Figure:
    """The optimizers' paths over the valley, and the loss at each step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.1), width_ratios=(1.25, 1))
    first, second = np.meshgrid(np.linspace(-2.7, 1.3, 161), np.linspace(-0.85, 0.85, 93))
    heights = theory.valley(np.stack([first, second], axis=-1))
    left.contour(first, second, heights, levels=[0.1, 0.5, 1.5, 3, 5, 8, 12], colors="#B0B0B0", linewidths=0.8)
    for k, (name, path) in enumerate(paths.items()):
        style = {"color": COLORS[k], "marker": "os^"[k], "markersize": 3, "linewidth": 1.1, "label": name}
        left.plot(path[:, 0], path[:, 1], **style)
        right.plot(theory.valley(path), **style)
    left.plot(0, 0, "*", color="black", markersize=11)
    left.set(xlabel="first weight", ylabel="second weight")
    right.set(xlabel="step", yscale="log")
    _title(left, "paths (star: the smallest loss)")
    _title(right, "loss")
    left.legend(loc="upper right", fontsize=8, frameon=True, framealpha=0.9)
    left.grid(visible=False)
    return figure


def descent_words(paths: Mapping[str, np.ndarray]) -> str:
    """The loss of each optimizer at the beginning and at the end."""
    ends = [f"{name} {theory.valley(path[-1]):.2g}" for name, path in paths.items()]
    first = next(iter(paths.values()))
    words = f"All start at a loss of {theory.valley(first[0]):.3g}; after {len(first) - 1} steps it is"
    return f"{words}: {', '.join(ends)}."


def overfitting(fits: theory.Fits) -> Figure:
    """Three of the polynomials among the training points, and the errors of all by degree."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.1))
    left.plot(*fits.points["training"], "o", color="black", markersize=4, label="training points")
    first, *_, last = fits.points["training"][0]
    x = np.linspace(first, last, 301)
    for k, degree in enumerate((1, fits.chosen, len(fits.curves) - 1)):
        left.plot(x, fits.curves[degree](x), STYLES[k], color=COLORS[k], linewidth=1.6, label=f"degree {degree}")
    left.set(xlabel="x", ylabel="y", ylim=(-2.4, 2.4))
    _title(left, "three fits")
    left.legend(loc="upper left", fontsize=8, ncols=2, columnspacing=1.0)
    for (part, errors), style, marker in zip(fits.errors.items(), STYLES, "os^", strict=True):
        right.plot(errors, style, marker=marker, markersize=4, label=part)
    right.axvline(fits.chosen, color="#777777", linewidth=0.9, label="chosen")
    right.set(xlabel="degree", yscale="log")
    _title(right, "mean squared error")
    right.legend(fontsize=8)
    return figure


def overfitting_words(fits: theory.Fits) -> str:
    """Which degree the validation points choose, and what the highest one does."""
    errors = {part: (values[fits.chosen], values[-1]) for part, values in fits.errors.items()}
    words = f"The validation points choose degree {fits.chosen}; its error is {errors['training'][0]:.3f} on the "
    words += (
        f"training, {errors['validation'][0]:.3f} on the validation and {errors['test'][0]:.3f} on the test points. "
    )
    words += f"At degree {len(fits.curves) - 1} the training error is {errors['training'][1]:.3f} and the validation "
    return words + f"error {errors['validation'][1]:.3f}."


def copies(image: np.ndarray, forms: Mapping[str, np.ndarray]) -> Figure:
    """A stored image, and below the name of each change three images that were changed so."""
    columns = {"stored": [image, None, None], **{name: list(changed / 255) for name, changed in forms.items()}}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return gallery(rows, [list(columns), *[[""] * len(columns)] * 2], side=1.0)


def judging(counts: Sequence[int], share: float, intervals: Sequence[tuple[float, float]]) -> Figure:
    """The interval of a measured share by the number of images, and what McNemar's test counts."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), width_ratios=(1.1, 1))
    low, high = np.transpose(intervals)
    left.fill_between(counts, low, high, color=COLORS[4], alpha=0.45, label="95 % interval (Wilson)")
    left.axhline(share, color=COLORS[0], label="measured accuracy")
    left.set(xscale="log", ylim=(0.5, 1), xlabel="test images", ylabel="accuracy")
    left.xaxis.set_major_formatter("{x:,.0f}")
    _title(left, "precision of an accuracy")
    left.legend(loc="lower right")
    mcnemar(right)
    _title(right, "what McNemar's test counts")
    return figure


def interval_words(counts: Sequence[int], share: float, intervals: Sequence[tuple[float, float]]) -> str:
    """The first and the last interval in words."""
    ends = [
        f"from {100 * low:.1f} to {100 * high:.1f} % on {whole(count)} images"
        for count, (low, high) in list(zip(counts, intervals, strict=True))[:: len(counts) - 1]
    ]
    return f"With a measured accuracy of {100 * share:g} % the interval goes {' and '.join(ends)}."


# ---------------------------------------------------------------- parts


def _map(axes: Axes, values: np.ndarray, title: str, **options: Any) -> None:
    axes.imshow(values, **options)
    _title(axes, title)
    axes.set_xticks([])
    axes.set_yticks([])
    _bare(axes)


def _write(axes: Axes, values: np.ndarray, form: str) -> None:
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, form.format(value), ha="center", va="center", fontsize=8)


def _frame(axes: Axes, place: tuple[int, int], side: int, color: str = COLORS[1], width: float = 1.8) -> None:
    corner = (place[1] - 0.5, place[0] - 0.5)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=color, linewidth=width))


def _bars(axes: Axes, names: Sequence[str], values: np.ndarray, title: str, form: str) -> None:
    bars = axes.barh(np.arange(len(names)), values, color=COLORS[0], height=0.65)
    axes.bar_label(bars, [form.format(value) for value in values], padding=2, fontsize=8)
    axes.set_yticks(np.arange(len(names)), names)
    _title(axes, title)
    axes.margins(x=0.35)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=9.5)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _size(values: np.ndarray) -> str:
    return " × ".join(str(side) for side in values.shape)
