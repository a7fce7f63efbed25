"""Alternative texts, written from the data behind a figure: bars, points, curves, a matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bakeoff.lab.plots.words import listed, text

MOST_NAMED = 25  # values in one text


def bars(values: pd.Series, shown: Callable[[float], str] = "{:g}".format) -> str:
    """What each bar or point of a row of categories (the index) shows, in order."""
    each = [f"{text(name)} {shown(value)}" for name, value in values.items()]
    return f"{listed(each, MOST_NAMED)}." if each else "It is empty."


def points(frame: pd.DataFrame, name: str, x: str, y: str) -> str:
    """Where a scatter plot's points lie: the first, the last and the highest along x."""
    if frame.empty:
        return "It is empty."
    ordered, top = frame.sort_values(x), frame.loc[frame[y].idxmax()]
    ends = [f"{text(row[name])} ({row[x]:.4g}, {row[y]:.4g})" for row in (ordered.iloc[0], ordered.iloc[-1], top)]
    return f"{len(frame)} points of {x} and {y}: from {ends[0]} to {ends[1]}; highest {ends[2]}."


def curves(frame: pd.DataFrame, name: str, x: str, y: str) -> str:
    """The value at which each curve ends."""
    last = frame.dropna(subset=y).sort_values(x, kind="stable").groupby(name, sort=False)[y].last()
    return f"Curves of {y} by {x}, last values: {bars(last, '{:.3g}'.format)}"


def matrix(frame: pd.DataFrame, shown: Callable[[float], str] = "{:.3g}".format) -> str:
    """The largest and the smallest field of a heat map, by row and column; NaN is no field."""
    if not frame.notna().any(axis=None):
        return "It is empty."
    values = frame.to_numpy(float)
    largest, smallest = (np.unravel_index(find(values), values.shape) for find in (np.nanargmax, np.nanargmin))
    fields = [
        f"{shown(values[at])} in row {text(frame.index[at[0]])}, column {text(frame.columns[at[1]])}"
        for at in (largest, smallest)
    ]
    return f"{len(frame)} rows, {frame.shape[1]} columns; largest {fields[0]}; smallest {fields[1]}."
