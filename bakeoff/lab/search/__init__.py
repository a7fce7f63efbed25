"""What the notebooks of a search need besides Keras: the space's points, the images, Keras Tuner's trials or a grid's.

A trial is the notebook's own function `run_trial(values)`, which builds, compiles and fits a network.
"""

from bakeoff.lab.search.images import held_out, within_budget
from bakeoff.lab.search.space import count_points, grid_points, list_space
from bakeoff.lab.search.trials import (
    PROBLEM,
    SCORES,
    Search,
    grid_search,
    open_search,
    random_points,
    random_search,
    read_points,
    save_points,
    save_search,
    save_trial,
)

__all__ = [
    "PROBLEM",
    "SCORES",
    "Search",
    "count_points",
    "grid_points",
    "grid_search",
    "held_out",
    "list_space",
    "open_search",
    "random_points",
    "random_search",
    "read_points",
    "save_points",
    "save_search",
    "save_trial",
    "within_budget",
]
