"""The pages of the load and preprocess notebooks, as their readers see them: every cell is executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

from bakeoff.lab import data, files
from bakeoff.lab.plots import digits, images, preparation
from tests.lab.cells import displayed, prepare, run_cells
from tests.lab.conftest import CHOICES

SETTINGS: dict[str, Any] = CHOICES | {"validation": "none"}
LOADED: dict[str, Any] = {"dataset": "shapes10", "max_train_examples": 60, "max_test_examples": 30, "inputs": {}}

pytestmark = pytest.mark.usefixtures("figures_without_a_screen")


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


def loaded_page(folder: Path, **parameters: Any) -> tuple[dict[str, Any], list[Any]]:
    """Execute all of the load notebook: its names, and what it displayed."""
    with displayed() as outputs:
        names = run_cells("1_load", LOADED | parameters | {"output": str(folder)}, pages=True)
    return names, outputs


def store_otherwise(folder: Path, class_names: list[str] | None = None, channels: int = 3) -> None:
    """What the load notebook stored, as it would be of images with other classes or channels."""
    description = files.read_json(folder / "dataset.json")
    files.write_json(folder / "dataset.json", description | ({"class_names": class_names} if class_names else {}))
    for role in ("train", "test"):
        files.write_npy(folder / f"{role}_images.npy", np.load(folder / f"{role}_images.npy")[..., :channels])


def captions(outputs: list[Any]) -> list[str]:
    return [each.metadata["bakeoff"]["caption"] for each in outputs if "caption" in each.metadata.get("bakeoff", {})]


def words(outputs: list[Any]) -> str:
    return "\n".join(each.data.get("text/markdown", "") for each in outputs)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_load_page_shows_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    run_cells("1_load", LOADED | {"output": str(tmp_path)})
    store_otherwise(tmp_path, channels=channels)
    names, outputs = loaded_page(tmp_path)
    assert len(names["channels"]) == channels
    assert [each for each in captions(outputs) if "its channels" in each]
    assert f"(60, 32, 32, {channels})" in next(each.data["text/html"] for each in outputs if "text/html" in each.data)


def test_the_load_page_names_the_synthetic_fallback_and_what_was_cut(tmp_path: Path) -> None:
    names, outputs = loaded_page(tmp_path)
    assert "synthetic fallback data set" in words(outputs)
    assert "10 classes: circle, " in words(outputs)
    table = next(each.data["text/html"] for each in outputs if "text/html" in each.data)
    assert "50000" in table and "train_00059" in table
    assert all(len(rows) > 0 for rows in names["samples"])


def test_samples_are_chosen_with_the_seed_and_a_missing_class_is_an_empty_row(tmp_path: Path) -> None:
    one, again, other = (
        loaded_page(tmp_path / name, data_seed=seed)[0]["samples"] for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    names, outputs = loaded_page(tmp_path / "d", max_train_examples=4)
    assert sorted(len(rows) for rows in names["samples"]) == [0] * 6 + [1] * 4
    assert "No image of" in words(outputs)


def test_digits_are_mnist_s_where_keras_has_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    found, which = digits.handwritten(8)
    assert found.shape == (8, 8, 8, 1) and found.max() == 255 and "since MNIST is not at hand" in which
    (tmp_path / "datasets").mkdir()
    mnist = np.zeros((9, 28, 28), np.uint8)
    mnist[:, :14] = 200
    np.savez(tmp_path / "datasets" / "mnist.npz", x_test=mnist)
    found, which = digits.handwritten(8)
    assert found.shape == (8, 28, 28, 1) and which == "MNIST"
    words = digits.beside_digits_words(np.full((3, 32, 32, 3), 90, np.uint8), found, "photos", which)
    assert "28 × 28 pixels, 50 % of them dark, and a contrast" in words and "of 100 of 255" in words
    assert "32 × 32 pixels, 0 % of them dark, and a contrast of 0" in words


def test_a_test_split_of_another_name_is_named(dataset: data.Dataset) -> None:
    photographs = replace(dataset, name="cifar10", kind="tfds", test_split="validation")
    assert "fallback" not in images.loaded_words(photographs)
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
def test_the_preprocess_page_shows_every_setting(
    dataset: data.Dataset, tmp_path: Path, settings: dict[str, Any], channels: int
) -> None:
    source = dataset if channels == 3 else one_channel(dataset)
    augmentation = {"rotation_degrees": 20, "alternating_flip": True}
    with displayed() as outputs:
        prepared = prepare(source, tmp_path, pages=True, **(SETTINGS | settings | {"augmentation": augmentation}))
    found = captions(outputs)
    assert len(found) == len(set(found)) == 7
    assert "rotated by up to 20 degrees and flipped in every second epoch" in found[-1]
    by_hand = next(each.data["text/plain"] for each in outputs if "(x - offset)" in str(each.data))
    for row in by_hand.splitlines()[1:]:
        assert float(row.split()[-1]) == pytest.approx(float(row.split()[-2]), abs=1e-4)
    text = preparation.transform_words(prepared, settings.get("color", "rgb"), settings.get("scaling", "unit"))
    assert ("not scaled" in text) == ("validation_preprocessing" in settings)
    assert text.endswith(".")
    assert preparation.task_words(prepared, settings.get("positive_class", "")).endswith(".")


def test_a_leak_is_called_one(dataset: data.Dataset, tmp_path: Path) -> None:
    leak = prepare(dataset, tmp_path / "a", **(SETTINGS | {"validation": "test"}))
    assert "a leak" in preparation.split_words(leak)
    assert "No exact duplicates between training and test." in preparation.split_words(leak)
    split = prepare(dataset, tmp_path / "b", **(SETTINGS | {"validation": "split"}))
    assert "leak" not in preparation.split_words(split)
    assert "No exact duplicates between training, validation and test." in preparation.split_words(split)


def test_what_is_printed_for_every_variant_is_short(dataset: data.Dataset, tmp_path: Path) -> None:
    """The report prints it in each chapter; the explanations stand once, in the background chapter."""
    prepared = prepare(dataset, tmp_path, **(SETTINGS | {"validation": "split", "scaling": "standardize"}))
    sentences = [
        preparation.task_words(prepared, ""),
        preparation.transform_words(prepared, "rgb", "standardize"),
        preparation.split_words(prepared),
        preparation.augmentation_words({}),
    ]
    assert all(len(sentence.split()) <= 20 for sentence in sentences), sentences


def test_augmentation_in_words() -> None:
    assert "is empty" in preparation.augmentation_words({})
    assert "is empty" in preparation.augmentation_words({"zoom": 0, "horizontal_flip": False})
    sentence = preparation.augmentation_words({"rotation_degrees": 20, "horizontal_flip": True})
    assert "up to 20 degrees" in sentence
    assert "flipped with probability 0.5" in sentence


def test_lists_in_words() -> None:
    assert images.listed([]) == ""
    assert images.listed(["a"]) == "a"
    assert images.listed(["a", "b", "c"]) == "a, b and c"
    assert images.listed([str(k) for k in range(100)], 20).endswith("19 and 80 more")


def test_a_copy_that_lacks_images_of_its_published_description_says_so(dataset: data.Dataset) -> None:
    copy = replace(dataset, name="cifar10", kind="tfds", available={"train": 50000, "test": 9980})
    assert images.missing_words(copy) == "This copy of cifar10 has 9 980 of the 10 000 test images."
    assert images.missing_words(replace(copy, available={"train": 50000, "test": 10000})) == ""
    assert images.missing_words(replace(copy, name="no_such_set")) == images.missing_words(dataset) == ""
