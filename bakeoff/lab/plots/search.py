"""Figures, tables and sentences of the search page: the space, the trials, and what the search found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bakeoff.lab.plots.words import count, duration, percent, whole

if TYPE_CHECKING:
    from bakeoff.lab.tuning import Search

COLOR_MAP = "cividis"  # told apart by colour-blind readers, and ordered in gray print
BEST_COLOR = "#D55E00"
HEADINGS = {
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy (a leak)",
    "train_accuracy": "training accuracy",
}
MOST_LISTED = 24  # trials in the table
MOST_TICKS = 8  # values written beside an axis
SPREAD = 0.03  # of an axis, by which lines through the same value are drawn apart
TICK_STYLE: dict[str, Any] = {
    "fontsize": 7,
    "va": "center",
    "bbox": {"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
}
JITTER = 0.12  # of the distance between values, so that points on the same spot can be told apart


def space(search_space: Mapping[str, Any]) -> pd.DataFrame:
    """Each searched name with its values and how many they are."""
    from bakeoff.lab.search_space import list_values

    values = {name: list_values(name, entry) for name, entry in search_space.items()}
    rows = [
        {"name": name, "values": ", ".join(_word(value) for value in listed), "how many": len(listed)}
        for name, listed in values.items()
    ]
    return pd.DataFrame(rows, columns=["name", "values", "how many"])


def plan(search: str, search_space: Mapping[str, Any], search_trials: int, search_epochs: int) -> str:
    """How many points there are, how many are tried, and how."""
    total = int(np.prod([row["how many"] for _, row in space(search_space).iterrows()]))
    tried = min(search_trials or total, total)
    kind = "Keras Tuner's random search" if search == "tuner" else "A grid, each point logged with TensorBoard HParams,"
    which = "every one" if tried == total else f"{tried}, drawn with the seed"
    epochs = count(search_epochs, "epoch")
    return f"The space has {count(total, 'point')}. {kind} tries {which}, each for {epochs}."


def images_used(result: Search) -> str:
    """What the trials were trained and chosen on."""
    best = result.best
    text = f"Each trial was trained on {count(best['train_images'], 'image')} in"
    text += f" {count(best['optimizer_steps'], 'step')}, and scored on {count(best['validation_images'], 'image')}"
    text += " held out from them."
    if best["points_failed"]:
        text += f" **{count(best['points_failed'], 'trial')} failed**: the table of the trials says why, and nothing"
        text += " else on this page counts them."
    if best["test_images"]:
        text += (
            f" It was also scored on {count(best['test_images'], 'test image')}. **To choose by that score would be a"
            " leak**: the test set's accuracy would then look better than it is. The column shows what such a choice"
            " would have been; nothing is chosen by it."
        )
    return text


def trials(result: Search) -> pd.DataFrame:
    """The trials, best validation accuracy first; of many, the best only."""
    frame = result.trials.sort_values("validation_accuracy", ascending=False, kind="stable").head(MOST_LISTED)
    accuracies = {name: heading for name, heading in HEADINGS.items() if frame[name].notna().any()}
    shown = frame[["trial", *result.names]].map(_word)
    for name, heading in accuracies.items():
        shown[heading] = [percent(value) for value in frame[name]]
    shown["parameters"] = ["" if np.isnan(number) else whole(number) for number in frame["parameters"]]
    shown["time"] = [duration(seconds) for seconds in frame["seconds"]]
    if frame["problem"].notna().any():
        shown["failed"] = frame["problem"].fillna("")
    return shown


def listed(result: Search) -> str:
    """A caption's words for how many trials the table shows."""
    total = len(result.trials)
    return count(total, "trial") if total <= MOST_LISTED else f"the best {MOST_LISTED} of {total} trials"


def parallel_coordinates(result: Search) -> Figure:
    """A line a trial through its values and its accuracies, coloured by validation accuracy."""
    frame, names = result.scored, result.names
    accuracies = [name for name in HEADINGS if frame[name].notna().any() and name != "train_accuracy"]
    columns = [*names, *accuracies]
    spread = np.linspace(-SPREAD, SPREAD, len(frame)) if len(frame) > 1 else np.zeros(1)
    heights = pd.DataFrame({name: _heights(frame[name], result.best["space"][name]) + spread for name in names})
    shared = _accuracy_range(frame[accuracies])
    for name in accuracies:
        heights[name] = (frame[name] - shared[0]) / (shared[1] - shared[0])
    figure, axes = plt.subplots(figsize=(max(5.0, 1.35 * len(columns) + 1.2), 3.8))
    norm, colors = _coloring(frame)
    for row in _worst_first(frame):
        best = frame["trial"].iloc[row] == result.best["trial"]
        style = {"color": BEST_COLOR, "lw": 2.5} if best else {"color": colors[row], "lw": 1.1, "alpha": 0.8}
        axes.plot(range(len(columns)), heights.iloc[row], marker="o", ms=3, **style)
    for place, name in enumerate(columns):
        axes.axvline(place, color="0.6", lw=0.8, zorder=0)
        ticks = _accuracy_ticks(shared) if name in accuracies else _value_ticks(result.best["space"][name])
        for height, label in ticks:
            axes.annotate(label, (place, height), (5, 0), textcoords="offset points", **TICK_STYLE)
    axes.set_xticks(range(len(columns)), [_heading(name) for name in columns])
    axes.set_xlim(-0.2, len(columns) - 0.35)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    _colorbar(figure, axes, norm)
    return figure


def describe_parallel_coordinates(result: Search) -> str:
    """The picture in words."""
    values = ", ".join(f"{name} {_word(value)}" for name, value in result.best["values"].items())
    low, high = result.scored["validation_accuracy"].min(), result.scored["validation_accuracy"].max()
    return (
        f"One line for each of {count(len(result.scored), 'trial')} through its values and accuracies. Validation"
        f" accuracies run from {percent(low)} to {percent(high)}; the best trial has {values}."
    )


def scatter_matrix(result: Search) -> Figure:
    """Every searched name against every other, and in the last row against validation accuracy, which colours all."""
    frame, names, values = result.scored, result.names, result.best["space"]
    rows = [*names[1:], "validation_accuracy"]
    side = 1.4 if len(names) > 2 else 2.4
    size = (max(4.5, side * len(names) + 1.2), max(3.0, side * len(rows) + 0.4))
    figure, grid = plt.subplots(len(rows), len(names), figsize=size, squeeze=False, sharex="col")
    norm, colors = _coloring(frame)
    random = np.random.default_rng(0)
    places = {name: _places(frame[name], values[name], random) for name in names}
    for i, row in enumerate(rows):
        for j, column in enumerate(names):
            axes = grid[i, j]
            if j > i:  # said already, or a name against itself
                axes.axis("off")
                continue
            axes.scatter(places[column], places.get(row, frame["validation_accuracy"]), c=colors, s=14, lw=0)
            if row in values:
                _ticks(axes.yaxis, values[row])
            axes.tick_params(labelsize=7, labelleft=j == 0)
            axes.set_ylabel(_heading(row) if j == 0 else "", fontsize=8)
    for axes, column in zip(grid[-1], names, strict=True):
        _ticks(axes.xaxis, values[column])
        axes.set_xlabel(_heading(column), fontsize=8)
    figure.align_ylabels(grid[:, 0])
    _colorbar(figure, grid, norm)
    return figure


def effects(result: Search) -> pd.DataFrame:
    """For each value that was tried: in how many trials it was, and their mean validation (and test) accuracy."""
    frame = result.scored
    rows = []
    for name in result.names:
        for value in result.best["space"][name]:
            part = frame[frame[name] == value]
            if part.empty:
                continue
            row: dict[str, Any] = {"name": name, "value": _word(value), "trials": len(part)}
            for column in ("validation_accuracy", "test_accuracy"):
                if frame[column].notna().any():
                    row[f"mean {HEADINGS[column]}"] = percent(part[column].mean())
            rows.append(row)
    return pd.DataFrame(rows)


def found(result: Search) -> str:
    """The best point, and how far ahead it is."""
    best, frame = result.best, result.scored
    values = ", ".join(f"{name} **{_word(value)}**" for name, value in best["values"].items())
    text = f"The best of {count(len(frame), 'trial')} is trial {best['trial']}: {values}, with a validation accuracy of"
    text += f" {percent(best['validation_accuracy'])}."
    if len(frame) == 1:
        return f"{text} It is the only one, so nothing was compared."
    ordered = frame["validation_accuracy"].sort_values(ascending=False)
    errors = [accuracy_error(accuracy, best["validation_images"]) for accuracy in ordered.iloc[:2]]
    lead = ordered.iloc[0] - ordered.iloc[1]
    text += f" The second is {100 * lead:.1f} points behind"
    if lead < 2 * math.hypot(*errors):  # the standard error of a difference holds those of both accuracies
        text += ", which is within what chance does with so few validation images"
    bias = 100 * errors[0] * expected_maximum(len(frame))
    text += f". The best of several looks better than it is: of {len(frame)} networks that were equally good, the best"
    text += f" would stand some {bias:.1f} points above what they are worth"
    return f"{text}. {_chosen_by_test(result)}".strip()


def accuracy_error(accuracy: float, images: int) -> float:
    """The standard error of an accuracy measured on so many images."""
    return float(np.sqrt(max(accuracy * (1 - accuracy), 1e-9) / images))


def expected_maximum(count: int) -> float:
    """The mean of the largest of `count` draws from the standard normal distribution, by Blom's approximation."""
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))


def _chosen_by_test(result: Search) -> str:
    """Which trial the test set would have chosen."""
    frame = result.scored
    if frame["test_accuracy"].isna().all():
        return ""
    leak = frame.loc[frame["test_accuracy"].idxmax()]
    ours = frame.loc[frame["trial"] == result.best["trial"]].iloc[0]
    if leak["test_accuracy"] == ours["test_accuracy"]:
        return "No trial has a higher test accuracy, so a choice by the test set would have been no better."
    return (
        f"A choice by the test set would have been trial {int(leak['trial'])}, with a test accuracy of"
        f" {percent(leak['test_accuracy'])} where ours has {percent(ours['test_accuracy'])}."
    )


def beside_published(result: Search, published: Mapping[str, Any]) -> pd.DataFrame:
    """Our best values beside the source's; the source's are empty where it names none."""
    theirs = _published_best(published)
    rows = [
        {"name": name, "here": _word(value), "source": _word(theirs[name]) if name in theirs else ""}
        for name, value in result.best["values"].items()
    ]
    return pd.DataFrame(rows, columns=["name", "here", "source"])


def compare_with_published(result: Search, published: Mapping[str, Any]) -> str:
    """In how many values the source's best point agrees with ours."""
    theirs = {name: v for name, v in _published_best(published).items() if name in result.names}
    if not theirs:
        return "The source names no best values, or there is no source, so there is nothing to compare with."
    same = [name for name, value in theirs.items() if value == result.best["values"][name]]
    text = f"Of the {count(len(theirs), 'value')} that the source names as best, {len(same)} came out the same here"
    text += f" ({', '.join(same)})." if same else "."
    return text + " Each came from one training, so chance has a part in both."


def _published_best(published: Mapping[str, Any]) -> Mapping[str, Any]:
    best = published.get("best")
    return best if isinstance(best, Mapping) else {}


def _heights(column: pd.Series, values: Sequence[Any]) -> np.ndarray:
    """Where on an axis from 0 to 1 each trial's value stands: the values evenly spread, in their order."""
    return np.array([values.index(value) / (len(values) - 1) if len(values) > 1 else 0.5 for value in column])


def _value_ticks(values: Sequence[Any]) -> list[tuple[float, str]]:
    heights = [number / (len(values) - 1) if len(values) > 1 else 0.5 for number in range(len(values))]
    step = -(-len(values) // MOST_TICKS)
    return [(height, _word(value)) for height, value in list(zip(heights, values, strict=True))[::step]]


def _accuracy_range(accuracies: pd.DataFrame) -> tuple[float, float]:
    low, high = float(np.nanmin(accuracies.to_numpy(float))), float(np.nanmax(accuracies.to_numpy(float)))
    return (low, high) if high > low else (low - 0.01, high + 0.01)


def _accuracy_ticks(shared: tuple[float, float]) -> list[tuple[float, str]]:
    low, high = shared
    return [(height, percent(low + height * (high - low))) for height in (0.0, 0.5, 1.0)]


def _places(column: pd.Series, values: Sequence[Any], random: np.random.Generator) -> np.ndarray:
    """The number of each trial's value in the list of values, spread a little."""
    return np.array([values.index(value) for value in column]) + random.uniform(-JITTER, JITTER, len(column))


def _ticks(axis: Any, values: Sequence[Any]) -> None:
    step = -(-len(values) // (MOST_TICKS // 2))
    axis.set_ticks(range(0, len(values), step), [_word(value) for value in values[::step]])
    limits = (-0.5, len(values) - 0.5)
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(*limits)


def _coloring(frame: pd.DataFrame) -> tuple[Normalize, np.ndarray]:
    norm = Normalize(*_accuracy_range(frame[["validation_accuracy"]]))
    return norm, plt.get_cmap(COLOR_MAP)(norm(frame["validation_accuracy"].to_numpy(float)))


def _colorbar(figure: Figure, axes: Axes | np.ndarray, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, COLOR_MAP), ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("validation accuracy", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _worst_first(frame: pd.DataFrame) -> list[int]:
    """Rows in the order of drawing, so that good trials lie on top."""
    return [int(row) for row in np.argsort(frame["validation_accuracy"].to_numpy(float), kind="stable")]


def _heading(name: str) -> str:
    return HEADINGS.get(name, name).replace(" ", "\n", 1).replace("_", "\n", 1)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
