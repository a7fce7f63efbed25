"""The points of a search space: which there are, which to draw, which cost the most."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.lab.streams import generator

Values = dict[str, Any]  # name in the space -> value

OF_TRAINING = ("optimizer", "learning_rate")  # all other names in a space are options of the builder
MOST_CORNERS = 64


def list_values(name: str, entry: Any) -> list[Any]:
    """All values that an entry of the space stands for: a list, or {min, max, step} with both ends.

    Raises ValueError for anything else.
    """
    if isinstance(entry, Mapping) and set(entry) == {"min", "max", "step"} and entry["step"] > 0:
        count = math.floor((entry["max"] - entry["min"]) / entry["step"] + 1e-9) + 1
        values = [entry["min"] + number * entry["step"] for number in range(count)]
    else:
        values = list(entry) if isinstance(entry, list | tuple) else []
    if not values or not all(isinstance(value, str | int | float) for value in values):
        raise ValueError(
            f"search_space {name} is {entry!r}: give a list of numbers or words, or min, max and step with max >= min"
        )
    return values


def grid_points(space: Mapping[str, Sequence[Any]], count: int, seed: int) -> list[Values]:
    """`count` different points of the grid, drawn with the seed, in the grid's order.

    Of each name all values occur if `count` allows, and about equally often.
    """
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if count >= len(every):
        return every
    random = generator(seed, "points of a grid", count)
    used: dict[tuple[str, Any], int] = {}
    chosen: list[int] = []
    left = random.permutation(len(every)).tolist()
    for _ in range(count):
        # of the points left, the first drawn whose values have been used least
        number = min(left, key=lambda k: sum(2.0 ** used.get(item, 0) for item in every[k].items()))
        left.remove(number)
        chosen.append(number)
        for item in every[number].items():
            used[item] = used.get(item, 0) + 1
    return [every[number] for number in sorted(chosen)]


def corners(space: Mapping[str, Sequence[Any]]) -> list[Values]:
    """The points whose network options are all the first or the last of their values."""
    ends = {name: sorted({values[0], values[-1]}) for name, values in space.items() if name not in OF_TRAINING}
    corners = itertools.product(*ends.values())
    return [dict(zip(ends, values, strict=True)) for values in itertools.islice(corners, MOST_CORNERS)]
