from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab import data, preprocessing
from bakeoff.lab.plots import images, preparation
from tests.lab.conftest import CHOICES

SETTINGS: dict[str, Any] = CHOICES | {"validation": "none"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    folder = tmp_path_factory.mktemp("load")
    return data.load("shapes10", folder, max_train_examples=60, max_test_examples=30, seed=0)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def one_channel(dataset: data.Dataset) -> data.Dataset:
    train, test = (replace(part, images=part.images[..., :1]) for part in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test)


def drawn(figure: Figure) -> int:
    """How many pictures a figure shows, after drawing all of it."""
    figure.canvas.draw()
    return sum(len(axes.images) for axes in figure.axes)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_load_page_draws_any_number_of_channels(dataset: data.Dataset, channels: int) -> None:
    shown = dataset if channels == 3 else one_channel(dataset)
    chosen = images.draw_examples(shown.train, shown.num_classes, seed=0)
    assert drawn(images.class_grid(shown, chosen)) == 60
    assert drawn(images.channel_grid(shown.train.images[0], "circle")) == channels + 1
    images.balance(shown).canvas.draw()
    assert "one channel" in str(images.loaded_table(shown)) or channels == 3


def test_examples_are_drawn_with_the_seed_and_a_missing_class_is_an_empty_row(dataset: data.Dataset) -> None:
    one, again, other = (images.draw_examples(dataset.train, 10, seed, most=3) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    few = replace(dataset, train=data.first(dataset.train, 4))
    chosen = images.draw_examples(few.train, 10, seed=0)
    assert sorted(len(positions) for positions in chosen) == [0] * 6 + [1] * 4
    assert drawn(images.class_grid(few, chosen)) == 4
    assert "No image of" in images.balance_words(few.train.labels, few.class_names)


def test_the_page_says_what_was_loaded(dataset: data.Dataset) -> None:
    assert "drawn pictures" in images.loaded_words(dataset)
    table = images.loaded_table(dataset).set_index("what")["value"]
    assert table["training images"] == "60 of 50 000"
    assert "train_00059" in table["ids"]
    photographs = replace(dataset, name="cifar10", test_split="validation")
    assert "drawn" not in images.loaded_words(photographs)
    assert "**validation** split is the test set" in images.loaded_words(photographs)


def test_balance_in_words() -> None:
    assert "Every class has 2 images" in images.balance_words(np.array([0, 1, 0, 1]), ["a", "b"])
    assert "right for 75.0 %" in images.balance_words(np.array([0, 0, 0, 1]), ["a", "b"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"color": "gray", "scaling": "minmax", "validation": "split"},
        {"scaling": "standardize", "validation": "test", "validation_preprocessing": "raw"},
        {"scaling": "caffe", "task": "binary", "positive_class": "dog", "examples_per_side": 4},
        {"scaling": "symmetric", "task": "labels_only"},
        {"scaling": "none"},
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_preprocess_page_draws_every_setting(
    dataset: data.Dataset, tmp_path: Path, settings: dict[str, Any], channels: int
) -> None:
    source = dataset if channels == 3 else one_channel(dataset)
    prepared = preprocessing.prepare(source, tmp_path, **(SETTINGS | settings))
    assert drawn(preparation.before_and_after(prepared.train, [0, 1, 2], prepared.class_names, "scaling")) == 6
    preparation.histogram(prepared).canvas.draw()
    preparation.split_balance(prepared).canvas.draw()
    options = {"rotation_degrees": 20, "alternating_flip": True}
    assert drawn(preparation.sixteen_forms(prepared.train, 0, options, seed=0)) == 17
    assert len(preparation.statistics_table(prepared)) in (1, 3)
    assert len(preparation.split_table(prepared)) == 2 + (prepared.validation is not None)
    words = preparation.transform_words(prepared, settings.get("color", "rgb"), settings.get("scaling", "unit"))
    assert ("not scaled" in words) == ("validation_preprocessing" in settings)
    assert words.endswith(".")
    assert preparation.task_words(prepared, settings.get("positive_class", "")).endswith(".")


def test_a_leak_is_called_one(dataset: data.Dataset, tmp_path: Path) -> None:
    leak = preprocessing.prepare(dataset, tmp_path / "a", **(SETTINGS | {"validation": "test"}))
    assert "a leak" in preparation.split_words(leak)
    assert "(training and test) is in another" in preparation.split_words(leak)
    split = preprocessing.prepare(dataset, tmp_path / "b", **(SETTINGS | {"validation": "split"}))
    assert "leak" not in preparation.split_words(split)
    assert "(training, validation and test) is in another" in preparation.split_words(split)


def test_augmentation_in_words() -> None:
    assert "asks for no random change" in preparation.augmentation_words({})
    assert "asks for no random change" in preparation.augmentation_words({"zoom": 0, "horizontal_flip": False})
    words = preparation.augmentation_words({"rotation_degrees": 20, "horizontal_flip": True})
    assert "up to 20 degrees" in words
    assert "mirrored with a chance of one half" in words


def test_lists_in_words() -> None:
    assert images.listed([]) == ""
    assert images.listed(["a"]) == "a"
    assert images.listed(["a", "b", "c"]) == "a, b and c"
    assert images.listed([str(k) for k in range(100)], 20).endswith("19 and 80 more")
