"""Figures of the build page: what a network is made of, and where its parameters and FLOPs sit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from bakeoff.lab.plots.page import COLORS

if TYPE_CHECKING:
    from bakeoff.lab.models import LayerRow, Network

MOST_BOXES = 30  # in one diagram; more are drawn as one box for each size of feature map
BOXES_IN_A_ROW = 10
LABEL_CHARACTERS = 13  # what fits below a box
# Layers that do not stand alone in the diagram: they join the box of the layer before them.
JOINED = {
    "BatchNormalization": "BatchNorm",
    "Dropout": "dropout",
    "Activation": "",
    "Flatten": "flatten",
    "Rescaling": "scaling",
    "Normalization": "standardize",
}
WORDS = {
    "InputLayer": "image",
    "Conv2D": "convolution",
    "DepthwiseConv2D": "depthwise convolution",
    "SeparableConv2D": "separable convolution",
    "MaxPooling2D": "max pooling",
    "AveragePooling2D": "average pooling",
    "GlobalMaxPooling2D": "global max pooling",
    "GlobalAveragePooling2D": "global average pooling",
    "UpSampling2D": "upsampling",
    "Resizing": "resizing",
    "Concatenate": "repeated to 3 channels",
    "Dense": "dense",
}
OTHER_COLOR = "#8A8A8A"
COLOR_OF = {"convolution": COLORS[0], "pooling": COLORS[5], "dense": COLORS[2], "layers": COLORS[3]}


@dataclass(frozen=True)
class Box:
    """One box of the diagram: a layer and those joined to it, or a run of layers of one feature map size."""

    name: str
    lines: tuple[str, ...]  # what stands below it
    shape: tuple[int, ...]  # what it gives out, without the batch
    parameters: int
    trainable: int
    gflop: float
    layers: int
    is_base: bool = False


def boxes(network: Network) -> list[Box]:
    """The network as boxes, at most `MOST_BOXES`: small layers joined to their predecessor, long runs to one box."""
    found: list[Box] = []
    for row in network.layers:
        after_base = bool(found) and found[-1].is_base
        if row.kind in JOINED and found and not after_base:
            found[-1] = _join(found[-1], row)
        else:
            found.append(_box(row))
    return found if len(found) <= MOST_BOXES else _merge(found)


def diagram(network: Network) -> Figure:
    """The network from image to probabilities; a box's height is its feature map's side, its width the channels."""
    found = boxes(network)
    columns = math.ceil(len(found) / math.ceil(len(found) / BOXES_IN_A_ROW))  # rows of about equal length
    rows = [found[start : start + columns] for start in range(0, len(found), columns)]
    largest = max(_side(box) for box in found)
    figure, axes = plt.subplots(len(rows), 1, figsize=(7.0, 1.95 * len(rows)), squeeze=False)
    for number, (axis, row) in enumerate(zip(axes[:, 0], rows, strict=True)):
        _draw_row(axis, row, columns, largest, continues=number > 0)
    return figure


def diagram_alt(network: Network) -> str:
    """The diagram in words: every box in order with what it gives out."""
    steps = [f"{' '.join(box.lines)} ({_size(box.shape)})" for box in boxes(network)]
    return f"A drawing of {network.builder} from left to right: {'; '.join(steps)}."


def where(network: Network) -> Figure:
    """Which share of the parameters and of the FLOPs each part of the network has, as bars."""
    found = costly_blocks(network)
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(7.0, 0.7 + 0.24 * len(found)))
    _bars(axes[0], found, [box.parameters for box in found], "parameters", COLORS[0])
    _bars(axes[1], found, [box.gflop for box in found], "FLOPs", COLORS[1])
    axes[0].set_yticks(range(len(found)), [plain(box) for box in found])
    axes[0].invert_yaxis()
    return figure


def where_alt(network: Network) -> str:
    """The bars in words."""
    total = max(network.parameters, 1)
    flops = max(network.forward_gflop, 1e-12)
    parts = [
        f"{plain(box)} {percent(box.parameters / total)} of the parameters and"
        f" {percent(box.gflop / flops)} of the FLOPs"
        for box in costly_blocks(network)
    ]
    return f"Two bar charts over the parts of the network: {'; '.join(parts)}."


def _box(row: LayerRow) -> Box:
    return Box(
        row.name,
        tuple(_words(row)),
        row.output_shape,
        row.parameters,
        row.trainable_parameters,
        row.gflop,
        row.contains or 1,
        is_base=row.contains > 0,
    )


def _words(row: LayerRow) -> list[str]:
    """What stands below a layer's box, a line each."""
    if row.contains:
        return [row.name, f"{row.contains} layers", *(["frozen"] if not row.trainable_parameters else [])]
    settings = row.settings
    size = settings.get("kernel_size") or settings.get("pool_size") or settings.get("size")
    detail = "×".join(str(side) for side in size) if isinstance(size, Sequence) else ""
    if row.kind == "Conv2D" and 2 * row.trainable_parameters < row.parameters:  # its kernel, if not its bias
        detail += " fixed"
    activation = settings.get("activation", "")
    name = WORDS.get(row.kind) or JOINED.get(row.kind) or row.kind
    return [line for line in (name, f"{detail} {activation}".strip()) if line]


def _join(box: Box, row: LayerRow) -> Box:
    word = JOINED[row.kind] or str(row.settings.get("activation", ""))
    if row.kind == "Dropout":
        word += f" {row.settings.get('rate', 0):g}"
    return replace(
        box,
        lines=(*box.lines, f"+ {word}"),
        parameters=box.parameters + row.parameters,
        trainable=box.trainable + row.trainable_parameters,
        gflop=box.gflop + row.gflop,
        layers=box.layers + 1,
    )


def _merge(found: list[Box]) -> list[Box]:
    """One box for each run of equal feature maps; where that is still too many, for each run of equal length."""
    runs = [list(run) for _, run in groupby(found, key=lambda box: box.shape[:-1])]
    if len(runs) > MOST_BOXES:
        length = math.ceil(len(found) / MOST_BOXES)
        runs = [found[start : start + length] for start in range(0, len(found), length)]
    return [run[0] if len(run) == 1 else _summed(run) for run in runs]


def _summed(run: list[Box]) -> Box:
    layers = sum(box.layers for box in run)
    return Box(
        f"{run[0].name} to {run[-1].name}",
        (f"{layers} layers", f"from {run[0].lines[0]}", f"to {run[-1].lines[0]}"),
        run[-1].shape,
        sum(box.parameters for box in run),
        sum(box.trainable for box in run),
        sum(box.gflop for box in run),
        layers,
    )


def _draw_row(axis: Axes, row: list[Box], columns: int, largest: int, continues: bool) -> None:
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(-1.25, 1.0))
    axis.axis("off")
    for place, box in enumerate(row):
        width, height = _draw_box(axis, box, place, largest)
        axis.text(place, height / 2 + 0.25, _size(box.shape), ha="center", va="bottom", fontsize=7)
        axis.text(place, -0.62, _label(box), ha="center", va="top", fontsize=6.5, linespacing=1.15)
        if place or continues:
            arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (place - width / 2 - 0.03, 0), (place - width / 2 - 0.15, 0), arrowprops=arrow)


def _draw_box(axis: Axes, box: Box, place: float, largest: int) -> tuple[float, float]:
    """Draw a box around (place, 0): a slab for feature maps, a bar for vectors. Returns its width and height."""
    color = _color(box)
    is_map = len(box.shape) == 3
    height = max(math.sqrt(_side(box) / largest), 0.14) if is_map else min(math.log2(box.shape[-1] + 1) / 15, 1.0)
    width = 0.1 + 0.035 * math.log2(box.shape[-1] + 1) if is_map else 0.1
    left, bottom, right, top = place - width / 2, -height / 2, place + width / 2, height / 2
    style: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.6}
    if is_map:
        lean = 0.16 * height
        back = [(left, top), (left + lean / 2, top + lean), (right + lean / 2, top + lean), (right, top)]
        side = [(right, top), (right + lean / 2, top + lean), (right + lean / 2, bottom + lean), (right, bottom)]
        axis.add_patch(Polygon(back, facecolor=color, alpha=0.55, **style))
        axis.add_patch(Polygon(side, facecolor=color, alpha=0.75, **style))
    hatch = "////" if box.parameters and not box.trainable else None
    axis.add_patch(Rectangle((left, bottom), width, height, facecolor=color, hatch=hatch, **style))
    return width, height


def _color(box: Box) -> str:
    words = " ".join(box.lines[:2])
    return next((color for word, color in COLOR_OF.items() if word in words), OTHER_COLOR)


def _label(box: Box) -> str:
    """The words below a box, broken where they would run into the next box's."""
    lines: list[str] = []
    for line in box.lines:
        for word in line.split(" "):
            fits = lines and lines[-1] and len(lines[-1]) + 1 + len(word) <= LABEL_CHARACTERS
            if fits:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        lines.append("")
    return "\n".join(line for line in lines if line)


def _bars(axis: Axes, found: list[Box], values: Sequence[float], title: str, color: str) -> None:
    total = sum(values) or 1
    shares = [100 * value / total for value in values]
    axis.barh(range(len(found)), shares, color=color, height=0.7)
    for place, share in enumerate(shares):
        axis.text(share + 1, place, percent(share / 100), va="center", fontsize=7)
    axis.set(title=f"Share of the {title}", xlabel="%", xlim=(0, 125), axisbelow=True)
    axis.set_xticks(range(0, 101, 25))
    axis.grid(visible=False, axis="y")


def costly_blocks(network: Network) -> list[Box]:
    """The boxes that have parameters or FLOPs; of a network without either, all."""
    found = boxes(network)
    return [box for box in found if box.parameters or box.gflop] or found


def _side(box: Box) -> int:
    return max(box.shape[:-1]) if len(box.shape) == 3 else 1


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape)


def plain(box: Box) -> str:
    """A part's name as words."""
    return box.name.replace("_", " ")


def percent(share: float) -> str:
    """A share as a percentage."""
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
