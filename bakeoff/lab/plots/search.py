"""Figures, tables and sentences of the search page: the space, the trials, and what the search found."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bakeoff.lab.plots import words
from bakeoff.lab.plots.words import count, duration, percent, points, short, text, whole

if TYPE_CHECKING:
    from bakeoff.lab.search import Search

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
JITTER = 0.12  # of the distance between values, so that points on the same spot can be told apart
TICK_STYLE: dict[str, Any] = {
    "fontsize": 7,
    "va": "center",
    "bbox": {"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
}


def space(values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Each searched name with its values and how many they are."""
    rows = [
        {"name": name, "values": ", ".join(_word(value) for value in each), "how many": len(each)}
        for name, each in values.items()
    ]
    return pd.DataFrame(rows, columns=["name", "values", "how many"])


def plan(search: str, values: Mapping[str, Sequence[Any]], trials: int, epochs: int) -> str:
    """How many points there are, how many are tried, and how."""
    total = math.prod(len(each) for each in values.values())
    kind = "Keras Tuner's random search" if search == "tuner" else "A grid, each point logged with TensorBoard HParams,"
    which = "every one" if trials == total else f"{whole(trials)}, drawn with the seed"
    return f"The space has {count(total, 'point')}. {kind} tries {which}, each for {count(epochs, 'epoch')}."


def tuner_code(search: str) -> str:
    """The lab's code that proposes the points: Keras Tuner's random search, or the grid with its HParams."""
    from bakeoff.lab.search import trials

    shown: list[Any] = [trials._tuner] if search == "tuner" else [trials.grid_search, trials._log_hparams]
    return "\n\n".join(inspect.getsource(each) for each in shown).rstrip()


def images_used(result: Search) -> str:
    """What the trials were trained and chosen on."""
    best = result.best
    sentence = f"Each trial: {count(best['train_images'], 'training image')}, {count(best['optimizer_steps'], 'step')},"
    sentence += f" {count(best['validation_images'], 'validation image')}."
    if best["points_failed"]:
        sentence += (
            f" **{count(best['points_failed'], 'trial')} failed**, for the reason in the table; nothing else counts"
        )
        sentence += " them."
    if best["test_images"]:
        sentence += (
            f" Also scored on {count(best['test_images'], 'test image')}: **choosing by that score would be a leak**."
        )
    return sentence


def trials(result: Search) -> pd.DataFrame:
    """The trials, best validation accuracy first; of many, the best only."""
    frame = result.trials.sort_values("validation_accuracy", ascending=False, kind="stable").head(MOST_LISTED)
    accuracies = {name: heading for name, heading in HEADINGS.items() if frame[name].notna().any()}
    shown = frame[["trial", *result.names]].map(_word)
    for name, heading in accuracies.items():
        shown[heading] = [percent(value) for value in frame[name]]
    shown["parameters"] = [whole(number) for number in frame["parameters"]]
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
    norm = Normalize(*_accuracy_range(frame[["validation_accuracy"]]))
    colors = plt.get_cmap(COLOR_MAP)(norm(frame["validation_accuracy"].to_numpy(float)))
    for row in np.argsort(frame["validation_accuracy"].to_numpy(float), kind="stable"):  # good trials lie on top
        best = frame["trial"].iloc[row] == result.best["trial"]
        style = {"color": BEST_COLOR, "lw": 2.5} if best else {"color": colors[row], "lw": 1.1, "alpha": 0.8}
        axes.plot(range(len(columns)), heights.iloc[row], marker="o", ms=3, **style)
    _label_coordinates(axes, columns, result.best["space"], shared)
    bar = figure.colorbar(ScalarMappable(norm, COLOR_MAP), ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("validation accuracy", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def describe_parallel_coordinates(result: Search) -> str:
    """The figure in words."""
    values = ", ".join(f"{text(name)} {text(_word(value))}" for name, value in result.best["values"].items())
    low, high = result.scored["validation_accuracy"].min(), result.scored["validation_accuracy"].max()
    return (
        f"One line for each of {count(len(result.scored), 'trial')} through its values and accuracies. Validation"
        f" accuracies run from {percent(low)} to {percent(high)}; the best trial has {values}."
    )


def scatter_matrix(result: Search) -> Figure:
    """Every searched name against every other and against validation accuracy, which colours the points."""
    accuracy, values = HEADINGS["validation_accuracy"], result.best["space"]
    random = np.random.default_rng(0)
    places = {name: _numbers(result.scored[name], values[name]) for name in result.names}
    frame = pd.DataFrame(
        {_heading(name): each + random.uniform(-JITTER, JITTER, len(each)) for name, each in places.items()}
        | {accuracy: result.scored["validation_accuracy"].astype(float).round(3)}  # the legend's words
    ).sort_values(accuracy)
    with plt.rc_context({"figure.constrained_layout.use": False}):  # seaborn lays its grids out itself
        grid = sns.pairplot(
            frame,
            x_vars=frame.columns[:-1],
            y_vars=frame.columns[1:],
            hue=accuracy,
            palette=COLOR_MAP,
            corner=True,
            diag_kind=None,
            height=max(1.5, 3.5 / len(result.names)),  # seaborn fails where the legend is wider than the panels
            plot_kws={"s": 16, "linewidth": 0},
        )
    for number, name in enumerate(result.names):
        step = -(-len(values[name]) // (MOST_TICKS // 2))
        ticks = range(0, len(values[name]), step), [short(_word(value)) for value in values[name][::step]]
        limits = -0.5, len(values[name]) - 0.5
        grid.axes[-1, number].set(xticks=ticks[0], xticklabels=ticks[1], xlim=limits)
        if number:
            grid.axes[number - 1, 0].set(yticks=ticks[0], yticklabels=ticks[1], ylim=limits)
    grid.tight_layout()
    return grid.figure


def heat_map(result: Search) -> Figure:
    """The mean validation accuracy by the values of the two names that matter most."""
    table = _means(result)
    figure, axes = plt.subplots(figsize=(1.6 + 0.9 * table.shape[1], 1.2 + 0.4 * table.shape[0]))
    sns.heatmap(100 * table, annot=True, fmt=".1f", cmap=COLOR_MAP, ax=axes, cbar_kws={"label": "accuracy in %"})
    axes.set(xlabel=short(table.columns.name or ""), ylabel=short(table.index.name))
    return figure


def describe_heat_map(result: Search) -> str:
    """The figure in words."""
    table = _means(result)
    names = [text(name) for name in (table.index.name, table.columns.name) if name]
    low, high = float(np.nanmin(table.to_numpy())), float(np.nanmax(table.to_numpy()))
    return f"Mean validation accuracies by {words.listed(names)} run from {percent(low)} to {percent(high)}."


def effects(result: Search) -> pd.DataFrame:
    """For each value that was tried: in how many trials it was, and their mean validation (and test) accuracy."""
    frame, rows = result.scored, []
    accuracies = [name for name in ("validation_accuracy", "test_accuracy") if frame[name].notna().any()]
    for name in result.names:
        parts = dict(list(frame.groupby(name)))
        for value in (value for value in result.best["space"][name] if value in parts):
            means = {f"mean {HEADINGS[each]}": percent(parts[value][each].mean()) for each in accuracies}
            rows.append({"name": name, "value": _word(value), "trials": len(parts[value])} | means)
    return pd.DataFrame(rows)


def best(result: Search) -> pd.DataFrame:
    """The values of the best trial, beside all that each name could have."""
    frame = space(result.best["space"])[["name", "values"]]
    return frame.assign(best=[_word(value) for value in result.best["values"].values()])


def found(result: Search) -> str:
    """The best trial, and how far ahead it is."""
    best, frame = result.best, result.scored
    values = ", ".join(f"{text(name)} **{text(_word(value))}**" for name, value in best["values"].items())
    sentence = (
        f"The best of {count(len(frame), 'trial')} is trial {best['trial']}: {values}, with a validation accuracy of"
    )
    sentence += f" {percent(best['validation_accuracy'])}."
    if len(frame) == 1:
        return f"{sentence} It is the only one, so nothing was compared."
    first, second = frame["validation_accuracy"].nlargest(2)
    errors = [accuracy_error(accuracy, best["validation_images"]) for accuracy in (first, second)]
    sentence += f" The second is {points(first, second)} points behind"
    if first - second < 2 * math.hypot(*errors):  # the standard error of a difference holds those of both accuracies
        sentence += ", within sampling error"
    bias = 100 * errors[0] * expected_maximum(len(frame))
    sentence += f". Choosing the best is optimistic: of {len(frame)} equally good networks, the best would be some"
    return f"{sentence} {bias:.1f} points above its true accuracy. {_chosen_by_test(result)}".strip()


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
    leak = frame.loc[frame["test_accuracy"].astype(float).idxmax()]
    ours = frame.loc[frame["trial"] == result.best["trial"]].iloc[0]
    if leak["test_accuracy"] == ours["test_accuracy"]:
        return "No trial has a higher test accuracy."
    return (
        f"The test set would have chosen trial {int(leak['trial'])}, with a test accuracy of"
        f" {percent(leak['test_accuracy'])} where this one has {percent(ours['test_accuracy'])}."
    )


def _means(result: Search) -> pd.DataFrame:
    """Mean validation accuracies: rows and columns are the values of the two names whose means differ most."""
    frame = result.scored.astype({"validation_accuracy": float})
    spread = {name: frame.groupby(name)["validation_accuracy"].mean().std(ddof=0) for name in result.names}
    names = sorted(spread, key=lambda name: -spread[name])[:2]
    table = frame.pivot_table(index=names[0], columns=names[1:], values="validation_accuracy")
    order = [[value for value in result.best["space"][name] if value in set(frame[name])] for name in names]
    return table.reindex(order[0]) if len(names) == 1 else table.reindex(index=order[0], columns=order[1])


def _label_coordinates(
    axes: Axes, columns: Sequence[str], values: Mapping[str, Sequence[Any]], shared: tuple[float, float]
) -> None:
    for place, name in enumerate(columns):
        axes.axvline(place, color="0.6", lw=0.8, zorder=0)
        for height, label in _value_ticks(values[name]) if name in values else _accuracy_ticks(shared):
            axes.annotate(label, (place, height), (5, 0), textcoords="offset points", **TICK_STYLE)
    axes.set_xticks(range(len(columns)), [_heading(name) for name in columns])
    axes.set_xlim(-0.2, len(columns) - 0.35)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _numbers(column: pd.Series, values: Sequence[Any]) -> np.ndarray:
    """Which of its name's values each trial has."""
    return np.array([list(values).index(value) for value in column], float)


def _heights(column: pd.Series, values: Sequence[Any]) -> np.ndarray:
    """Where on an axis from 0 to 1 each trial's value stands: the values evenly spread, in their order."""
    return _numbers(column, values) / (len(values) - 1) if len(values) > 1 else np.full(len(column), 0.5)


def _value_ticks(values: Sequence[Any]) -> list[tuple[float, str]]:
    heights = _heights(pd.Series(list(values), dtype=object), values)
    step = -(-len(values) // MOST_TICKS)
    return [(height, short(_word(value))) for height, value in list(zip(heights, values, strict=True))[::step]]


def _accuracy_range(accuracies: pd.DataFrame) -> tuple[float, float]:
    low, high = float(np.nanmin(accuracies.to_numpy(float))), float(np.nanmax(accuracies.to_numpy(float)))
    return (low, high) if high > low else (low - 0.01, high + 0.01)


def _accuracy_ticks(shared: tuple[float, float]) -> list[tuple[float, str]]:
    low, high = shared
    return [(height, percent(low + height * (high - low))) for height in (0.0, 0.5, 1.0)]


def _heading(name: str) -> str:
    return HEADINGS.get(name, name).replace(" ", "\n", 1).replace("_", "\n", 1)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
