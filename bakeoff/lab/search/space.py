"""The points of a search space: which there are, which to draw, which cost the most."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bakeoff.lab.streams import generator

Values = dict[str, Any]  # name in the space -> value
Space = Mapping[str, Sequence[Any]]  # name -> all the values that it may have

OF_TRAINING = ("optimizer", "learning_rate")  # all other names in a space are options of the builder
MOST_CORNERS = 16  # that are looked at one by one: each is a network to build


def list_space(search_space: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The parameter `search_space` with all values of each name, a range {min, max, step} written out.

    Raises ValueError where it is empty or cannot be read.
    """
    if not search_space:
        raise ValueError("search_space is empty: name options of the builder, optimizer or learning_rate in it")
    return {name: list_values(name, entry) for name, entry in search_space.items()}


def count_points(space: Space) -> int:
    """How many points a space has."""
    return math.prod(len(values) for values in space.values())


def list_values(name: str, entry: Any) -> list[Any]:
    """All values that an entry of the space stands for: a list, or {min, max, step} with both ends.

    The values of a list are numbers, words or lists of them; numbers are of one kind: 0 beside 0.5 is 0.0.

    Raises ValueError for anything else.
    """
    if isinstance(entry, Mapping) and set(entry) == {"min", "max", "step"} and entry["step"] > 0:
        count = math.floor((entry["max"] - entry["min"]) / entry["step"] + 1e-9) + 1
        values = [entry["min"] + number * entry["step"] for number in range(count)]
    else:
        values = list(entry) if isinstance(entry, list | tuple) else []
    values = [list(value) if isinstance(value, list | tuple) else value for value in values]
    if not values or not all(map(_is_choice, values)):
        raise ValueError(
            f"search_space {name} is {entry!r}: give a list of numbers, words or lists, or min, max and step with"
            " max >= min"
        )
    fractions = any(isinstance(value, float) for value in values)
    return [float(value) if fractions and _is_number(value) else value for value in values]


def cells(values: Sequence[Any]) -> list[Any]:
    """Values as tables and Keras Tuner hold them: all of one kind as they are, otherwise each as JSON text."""
    kinds = (_is_number, lambda value: isinstance(value, str), lambda value: isinstance(value, bool))
    return list(values) if any(all(map(kind, values)) for kind in kinds) else [json.dumps(each) for each in values]


def point_of(space: Space, row: Mapping[Any, Any]) -> Values:
    """The values of a row of cells."""
    return {name: values[cells(values).index(row[name])] for name, values in space.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_choice(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_choice, value))
    return isinstance(value, str | int | float)


def grid_points(space: Space, count: int, seed: int) -> list[Values]:
    """`count` different points of the grid, drawn with the seed, in the grid's order.

    Of each name all values occur if `count` allows, and about equally often.
    """
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if count >= len(every):
        return every
    random = generator(seed, "points of a grid", count)
    used: dict[tuple[str, str], int] = {}
    items = [[(name, json.dumps(value)) for name, value in point.items()] for point in every]
    chosen: list[int] = []
    left = random.permutation(len(every)).tolist()
    for _ in range(count):
        # of the points left, the first drawn whose values have been used least
        number = min(left, key=lambda k: sum(2.0 ** used.get(item, 0) for item in items[k]))
        left.remove(number)
        chosen.append(number)
        for item in items[number]:
            used[item] = used.get(item, 0) + 1
    return [every[number] for number in sorted(chosen)]


def costliest(space: Space, cost: Callable[[Values], float]) -> float:
    """The highest cost of a network in the space, made of the least and the largest value of each option.

    Up to MOST_CORNERS such points are all looked at. Of more, one is changed, an option at a time, to what costs most,
    until nothing costs more. `cost` is 0 for a network that cannot be built.
    """
    ends = {name: _ends(values) for name, values in space.items() if name not in OF_TRAINING}
    points = itertools.islice(itertools.product(*ends.values()), MOST_CORNERS)
    corners = [dict(zip(ends, values, strict=True)) for values in points]
    if len(corners) == math.prod(map(len, ends.values())):
        return max(map(cost, corners))
    starts = [{name: values[-1] for name, values in ends.items()}, *corners]
    highest, point = next(((found, each) for each in starts if (found := cost(each))), (0.0, starts[0]))
    while True:
        others = [point | {name: each} for name, values in ends.items() for each in values if each != point[name]]
        found, best = max(((cost(each), each) for each in others), key=lambda one: one[0])
        if found <= highest:
            return highest
        highest, point = found, best


def _ends(values: Sequence[Any]) -> list[Any]:
    """The least and the largest number; of anything else, all values."""
    return sorted({min(values), max(values)}) if all(map(_is_number, values)) else list(values)
