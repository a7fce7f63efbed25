"""What the search notebook needs besides Keras: the space's points, the images, the trials of Keras Tuner or of a grid.

A trial is the notebook's own function `run_trial(values)`, which builds, compiles and fits a network.
"""

from bakeoff.lab.search.images import held_out, within_budget
from bakeoff.lab.search.space import count_points, list_space
from bakeoff.lab.search.trials import PROBLEM, SCORES, Search, grid_search, open_search, random_search, save_search

__all__ = [
    "PROBLEM",
    "SCORES",
    "Search",
    "count_points",
    "grid_search",
    "held_out",
    "list_space",
    "open_search",
    "random_search",
    "save_search",
    "within_budget",
]
