"""Small prepared data sets for the tests of training and searching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakeoff.lab import data
from bakeoff.lab.preprocessing import Prepared
from tests.lab.cells import prepare

CHOICES: dict[str, Any] = {
    "task": "classes",
    "color": "rgb",
    "gray_weights": [0.299, 0.587, 0.114],
    "scaling": "unit",
    "validation": "split",
    "validation_split": 0.2,
    "validation_sampling": "last",
    "validation_preprocessing": "same",
    "positive_class": "",
    "examples_per_side": 0,
}


@dataclass(frozen=True)
class Stages:
    """The folders of the stages load and preprocess, and what they hold."""

    prepared: Prepared
    inputs: dict[str, str]


@pytest.fixture
def figures_without_a_screen() -> Iterator[None]:
    import matplotlib
    from matplotlib import pyplot as plt

    from bakeoff.lab.plots import page

    matplotlib.use("agg")
    page.use_style()
    yield
    plt.close("all")


@pytest.fixture
def stages(tmp_path: Path) -> Callable[..., Stages]:
    """A function: built-in images, prepared with the choices given."""

    def make(train: int = 100, test: int = 20, **choices: Any) -> Stages:
        inputs = {name: str(tmp_path / name) for name in ("load", "preprocess")}
        limits = {"max_train_examples": train, "max_test_examples": test}
        dataset = data.load("shapes10", inputs["load"], **limits, seed=0)
        return Stages(prepare(dataset, inputs["preprocess"], **CHOICES | choices), inputs)

    return make
