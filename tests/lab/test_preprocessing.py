from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.lab import data, preprocessing
from bakeoff.lab.plots import preparation
from bakeoff.lab.preprocessing import Prepared, open_prepared
from tests.lab.cells import prepare
from tests.lab.conftest import CHOICES

DEFAULTS: dict[str, Any] = CHOICES | {"validation": "none"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load")
    data.load("shapes10", folder, max_train_examples=103, max_test_examples=50, seed=0)
    return folder


@pytest.fixture(scope="module")
def dataset(loaded: Path) -> data.Dataset:
    return data.open_dataset(loaded)


def one_channel(dataset: data.Dataset) -> data.Dataset:
    parts = (replace(part, images=part.images[..., :1]) for part in (dataset.train, dataset.test))
    return replace(dataset, **dict(zip(("train", "test"), parts, strict=True)))


def made(dataset: data.Dataset, folder: Path, **settings: Any) -> Prepared:
    return prepare(dataset, folder, **(DEFAULTS | settings))


def everything(prepared: Prepared) -> np.ndarray:
    return prepared.train.batch(np.arange(len(prepared.train)))


def test_all_images_train_and_test_by_default(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(dataset, tmp_path)
    assert (len(prepared.train), prepared.validation, len(prepared.test)) == (103, None, 50)
    assert (prepared.num_classes, prepared.num_outputs, prepared.input_shape) == (10, 10, (32, 32, 3))
    assert (prepared.validation_source, prepared.task, prepared.dataset_name) == ("none", "classes", "shapes10")
    batch = prepared.train.batch([5, 2])
    assert batch.dtype == np.float32
    assert np.array_equal(batch, dataset.train.images[[5, 2]].astype(np.float32) / 255)
    assert np.array_equal(prepared.train.raw([5, 2]), dataset.train.images[[5, 2]])
    assert np.array_equal(prepared.train.labels, dataset.train.labels)
    assert prepared.train.ids[7] == dataset.train.ids[7]


def test_the_last_share_is_held_out_as_keras_counts_it(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(dataset, tmp_path, validation="split", validation_split=0.2)
    assert prepared.validation is not None
    assert len(prepared.validation) == 103 - int(103 * 0.8) == 21
    assert np.array_equal(prepared.validation.ids, dataset.train.ids[-21:])
    assert not set(prepared.train.ids) & set(prepared.validation.ids)


def test_a_stratified_split_holds_out_the_same_share_of_every_class(dataset: data.Dataset, tmp_path: Path) -> None:
    """Cut off the end of images sorted by class, validation would hold classes that training lacks."""
    order = np.argsort(dataset.train.labels, kind="stable")
    part = dataset.train
    by_class = replace(part, images=part.images[order], labels=part.labels[order], ids=part.ids[order])
    data_set = replace(dataset, train=by_class, name="own")
    cut_off = made(data_set, tmp_path / "last", validation="split")
    assert set(cut_off.unseen_classes(cut_off.train.labels)["validation"]) >= {"arrow", "heart"}
    assert "classes of which the training images have none" in preparation.split_words(cut_off)
    drawn = made(data_set, tmp_path / "drawn", validation="split", validation_sampling="auto")
    assert (drawn.validation_sampling, len(drawn.train)) == ("stratified", len(cut_off.train))
    assert drawn.validation is not None
    assert not set(drawn.train.ids) & set(drawn.validation.ids)
    assert set(np.bincount(drawn.validation.labels, minlength=10)) <= {1, 2, 3}
    assert drawn.unseen_classes(drawn.train.labels) == {}
    again = made(data_set, tmp_path / "again", validation="split", validation_sampling="stratified")
    assert np.array_equal(again.validation.ids, drawn.validation.ids)  # type: ignore[union-attr]


def test_the_sources_data_are_split_as_the_sources_did(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(replace(dataset, name="cifar10"), tmp_path, validation="split", validation_sampling="auto")
    assert prepared.validation_sampling == "last"


def test_copies_of_training_images_are_found_by_their_pixels(dataset: data.Dataset, tmp_path: Path) -> None:
    """Ids hold the split's name, so they are never equal."""
    clean = made(dataset, tmp_path / "clean", validation="split")
    assert set(clean.duplicates.values()) == {0}
    assert "No exact duplicates between training, validation and test" in preparation.split_words(clean)
    images = np.array(dataset.test.images)
    images[:3], images[3] = dataset.train.images[:3], dataset.train.images[-1]
    copied = replace(dataset, test=replace(dataset.test, images=images))
    prepared = made(copied, tmp_path / "copied", validation="split")
    assert (prepared.duplicates["training/test"], prepared.duplicates["validation/test"]) == (3, 1)
    assert json.loads((tmp_path / "copied" / "preprocess.json").read_text())["duplicates"] == prepared.duplicates
    assert "3 images of the test part are in the training part too" in preparation.split_words(prepared)


def test_statistics_never_see_held_out_images(dataset: data.Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"scaling": "standardize", "validation": "split"}
    plain = made(dataset, tmp_path / "a", **settings)
    spoiled_images = np.array(dataset.train.images)
    spoiled_images[-21:] = 255
    spoiled = replace(dataset, train=replace(dataset.train, images=spoiled_images))
    assert made(spoiled, tmp_path / "b", **settings).statistics == plain.statistics
    seen = everything(plain)
    assert np.allclose(seen.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    assert np.allclose(seen.std(axis=(0, 1, 2)), 1, atol=1e-4)
    assert plain.statistics["images"] == 82


def test_statistics_are_those_of_numpy(dataset: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "_BLOCK", 17)
    statistics = made(dataset, tmp_path).statistics
    pixels = dataset.train.images.reshape(-1, 3).astype(float)
    assert np.allclose(statistics["mean"], pixels.mean(axis=0))
    assert np.allclose(statistics["standard_deviation"], pixels.std(axis=0))
    assert statistics["minimum"] == pixels.min(axis=0).tolist()
    assert statistics["maximum"] == pixels.max(axis=0).tolist()


@pytest.mark.parametrize(
    ("scaling", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("none", 0, 255), ("minmax", 0, 1)]
)
def test_ranges(dataset: data.Dataset, tmp_path: Path, scaling: str, low: float, high: float) -> None:
    prepared = made(dataset, tmp_path, scaling=scaling)
    ends = prepared.train.apply(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=-1))
    assert np.allclose(ends[0, 0, :, 0], [low, high], atol=0.02)
    if scaling == "minmax":
        assert (everything(prepared).min(), everything(prepared).max()) == (0, 1)


def test_symmetric_and_caffe_are_those_of_keras_applications(dataset: data.Dataset, tmp_path: Path) -> None:
    pixels = dataset.train.images[:4].astype(np.float32)
    symmetric = made(dataset, tmp_path / "a", scaling="symmetric").train.batch([0, 1, 2, 3])
    assert np.allclose(symmetric, pixels / 127.5 - 1, atol=1e-6)
    caffe = made(dataset, tmp_path / "b", scaling="caffe")
    assert np.allclose(caffe.train.batch([0, 1, 2, 3]), pixels[..., ::-1] - [103.939, 116.779, 123.68], atol=1e-4)
    gray = made(one_channel(dataset), tmp_path / "c", scaling="caffe")
    assert gray.input_shape == (32, 32, 3)
    assert np.allclose(gray.train.batch([0])[..., 2], pixels[:1, ..., 0] - 123.68, atol=1e-4)


def test_gray_follows_the_weights_in_their_order(dataset: data.Dataset, tmp_path: Path) -> None:
    weights = [0.114, 0.587, 0.299]
    prepared = made(dataset, tmp_path, color="gray", gray_weights=weights, scaling="none")
    assert prepared.input_shape == (32, 32, 1)
    expected = dataset.train.images[:3].astype(float) @ np.array(weights)
    assert np.allclose(prepared.train.batch([0, 1, 2])[..., 0], expected, atol=1e-3)


def test_one_channel_stays_one_channel(dataset: data.Dataset, tmp_path: Path) -> None:
    single = one_channel(dataset)
    gray, as_it_is = made(single, tmp_path / "a", color="gray"), made(single, tmp_path / "b")
    assert gray.input_shape == as_it_is.input_shape == (32, 32, 1)
    assert np.array_equal(everything(gray), everything(as_it_is))


def test_a_constant_channel_does_not_divide_by_zero(dataset: data.Dataset, tmp_path: Path) -> None:
    flat = replace(dataset, train=replace(dataset.train, images=np.full((103, 4, 4, 3), 7, np.uint8)))
    for scaling in ("standardize", "minmax"):
        assert np.array_equal(everything(made(flat, tmp_path / scaling, scaling=scaling)), np.zeros((103, 4, 4, 3)))


def test_validation_on_the_test_set_and_raw_pixels(dataset: data.Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"scaling": "standardize", "validation": "test"}
    prepared = made(dataset, tmp_path, validation_preprocessing="raw", **settings)
    assert prepared.validation_source == "test"
    assert prepared.validation is not None
    assert np.array_equal(prepared.validation.ids, prepared.test.ids)
    for view in (prepared.validation, prepared.test):
        assert np.array_equal(view.batch([0, 1]), dataset.test.images[:2].astype(np.float32))
    assert abs(everything(prepared).mean()) < 1e-3


def test_raw_pixels_keep_the_channels_that_the_network_expects(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(dataset, tmp_path, color="gray", validation_preprocessing="raw")
    assert prepared.test.batch([0]).shape == (1, 32, 32, 1)
    assert prepared.test.batch([0]).max() > 2


def test_one_class_against_the_others(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(dataset, tmp_path, task="binary", positive_class="star", examples_per_side=4)
    assert prepared.class_names == ("not star", "star")
    assert (prepared.num_classes, prepared.num_outputs) == (2, 1)
    star = dataset.class_names.index("star")
    assert sorted(prepared.train.labels.tolist()) == [0] * 4 + [1] * 4
    for side in (dataset.train.labels == star, dataset.train.labels != star):
        assert set(dataset.train.ids[side][:4]) <= set(prepared.train.ids)
    assert len(prepared.test) == 50
    assert np.array_equal(prepared.test.labels == 1, dataset.test.labels == star)


def test_a_class_that_the_data_lack_is_refused_and_on_the_fallback_their_first(
    dataset: data.Dataset, tmp_path: Path
) -> None:
    assert made(dataset, tmp_path, task="binary", positive_class="dog").class_names == ("not circle", "circle")
    own = replace(dataset, name="own")
    with pytest.raises(ValueError, match=r"'Star' is no class of own; did you mean 'star'\?"):
        made(own, tmp_path / "a", task="binary", positive_class="Star")
    with pytest.raises(ValueError, match="'dog' is no class of own; they are circle, "):
        made(own, tmp_path / "b", task="binary", positive_class="dog")


def test_labels_only_keeps_the_classes(dataset: data.Dataset, tmp_path: Path) -> None:
    prepared = made(dataset, tmp_path, task="labels_only", scaling="caffe")
    assert (prepared.num_outputs, prepared.class_names) == (10, dataset.class_names)


def test_what_is_stored_opens_as_it_was(dataset: data.Dataset, loaded: Path, tmp_path: Path) -> None:
    settings = {"scaling": "caffe", "validation": "split", "task": "binary", "positive_class": "ring"}
    first = made(dataset, tmp_path, **settings)
    again = open_prepared({"load": str(loaded), "preprocess": str(tmp_path)})
    assert np.array_equal(everything(first), everything(again))
    assert first.validation is not None
    assert again.validation is not None
    assert np.array_equal(first.validation.labels, again.validation.labels)
    assert (first.statistics, first.class_names) == (again.statistics, again.class_names)


def test_preparing_again_opens_what_is_there_unless_it_was_made_otherwise(
    dataset: data.Dataset, tmp_path: Path
) -> None:
    made(dataset, tmp_path, scaling="symmetric")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preprocess.json", "splits.npz"]
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    made(dataset, tmp_path, scaling="symmetric")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert made(dataset, tmp_path, scaling="none").train.batch([0]).max() > 1
    json.loads((tmp_path / "preprocess.json").read_text())


def test_first_shortens_a_view(dataset: data.Dataset, tmp_path: Path) -> None:
    view = made(dataset, tmp_path, validation="split").validation
    assert view is not None
    short = view.first(4)
    assert len(short) == len(short.labels) == 4
    assert np.array_equal(short.ids, view.ids[:4])
    assert np.array_equal(short.batch(np.arange(4)), view.batch(np.arange(4)))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"color": "gray", "gray_weights": [0.5, 0.5]}, "2 weights for 3 channels"),
        ({"validation": "split", "validation_split": 0.999}, "0 of 103 images"),
        ({"validation": "split", "validation_split": 0.0}, "103 of 103 images"),
    ],
)
def test_settings_that_the_data_cannot_follow(
    dataset: data.Dataset, tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        made(dataset, tmp_path, **settings)
    assert not (tmp_path / "preprocess.json").exists()


def test_one_sided_binary_data_are_refused(dataset: data.Dataset, tmp_path: Path) -> None:
    others = dataset.train.labels != 0
    train = data.Split(dataset.train.images[others], dataset.train.labels[others], dataset.train.ids[others])
    with pytest.raises(ValueError, match="one side"):
        made(replace(dataset, train=train), tmp_path, task="binary")
