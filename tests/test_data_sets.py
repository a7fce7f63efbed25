"""Data sets of one's own, prepared by TFDS: what cannot be used is refused in a sentence before a kernel starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.errors import RequestError
from bakeoff.lab import data
from bakeoff.plan.prepared import find_prepared, read_metadata
from tests.conftest import Workplace
from tests.lab.cells import displayed, run_cells
from tests.lab.test_data import write_prepared
from tests.prepared_sets import IMAGE, LABEL, describe, image_rows, prepare

GROUPS = np.arange(60) % 3
SENTENCES = {
    "no image": ({"features": {"text": {"text": {}}, "label": LABEL}}, r"features \(text, label\) is not one image"),
    "a plain label": (
        {"features": {"image": IMAGE, "label": {"pythonClassName": "a.b.Scalar", "tensor": {}}}},
        "its label is a Scalar.*ClassLabel",
    ),
    "no label": ({"features": {"image": IMAGE, "boxes": {"sequence": {}}}}, "is not one class label"),
    "one class": ({"features": {"image": IMAGE, "label": {"classLabel": {"numClasses": "1"}}}}, "one class only"),
    "float images": (
        {"features": {"image": {"image": {"dtype": "float32"}}, "label": LABEL}},
        "its images are float32; prepare the set again with uint8 images",
    ),
    "any channels": (
        {"features": {"image": {"image": {"shape": {"dimensions": ["-1", "-1", "-1"]}}}, "label": LABEL}},
        "number of channels",
    ),
    "no training": ({"splits": {"test": 5}}, "no training images"),
    "empty training": ({"splits": {"train": 0, "test": 5}}, "no training images"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_metadata_that_tell_that_a_set_cannot_be_used(tmp_path: Path, case: str) -> None:
    made, sentence = SENTENCES[case]
    folder = describe(tmp_path / "made" / "1.0.0", made.get("splits"), **made.get("features", {}))
    with pytest.raises(RequestError, match=sentence) as caught:
        read_metadata(folder, "made")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def _missing_shard(folder: Path) -> None:
    next(folder.glob("*-test.tfrecord*")).unlink()


def _cut_shard(folder: Path) -> None:
    shard = next(folder.glob("*-train.tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-40])


def _no_features(folder: Path) -> None:
    (folder / "features.json").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_missing_shard, "three-test.tfrecord-00000-of-00001 is missing"),
        (_cut_shard, "three-train.tfrecord-00000-of-00001 is cut short"),
        (_no_features, "features.json is missing"),
    ],
)
def test_damaged_files_are_named_before_a_kernel_starts(
    workplace: Workplace, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(prepare(workplace.root / "data", "three", {"train": image_rows(GROUPS), "test": image_rows(GROUPS[:12])}))
    place = ("--data-dir", str(workplace.root / "data"), "--set", "dataset=three")
    done = workplace.run("--variants", "simple_cnn", "--profile", "smoke", *place)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert not workplace.reports.exists()


def test_a_class_that_the_data_lack_is_refused_before_a_kernel_starts(workplace: Workplace) -> None:
    describe(workplace.root / "data" / "made" / "1.0.0")
    (workplace.root / "data" / "made" / "1.0.0" / "label.labels.txt").write_text("cat\ndog\nüber\n", encoding="utf-8")
    place = ("--data-dir", str(workplace.root / "data"), "--set", "dataset=made")
    task = ("--set", "task=binary", "--set", "positive_class=Dog", "--set", "loss=binary_crossentropy")
    done = workplace.run("--variants", "simple_cnn", "--profile", "smoke", *place, *task)
    assert done.returncode == 2
    assert "positive_class 'Dog' is no class of made; did you mean 'dog'?" in done.stderr
    several = workplace.run("--variants", "simple_cnn,vgg16_dog_features", "--dry-run", "--profile", "smoke", *place)
    assert several.returncode == 0, several.stderr


def test_another_data_set_works_by_name(prepared_workplace: Workplace) -> None:
    """28 by 28, one channel, three classes: nothing may count on CIFAR-10's shape."""
    write_prepared(prepared_workplace.root / "data", "tiny", {"train": 60, "test": 20})
    variants = ("gray_cnn", "vgg16_dog_features", "augmented_cnn", "tuner_cnn_shallow")
    settings = ("dataset=tiny", "positive_class=two", "threads=1", "max_batch_size=16", "max_training_tflop=0.005")
    chosen = ("--variants", ",".join(variants), "--profile", "smoke", *(f"--set={setting}" for setting in settings))
    done = prepared_workplace.run(*chosen, "--no-pdf", "--data-dir", str(prepared_workplace.root / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = prepared_workplace.results("smoke-selection")
    assert {row["dataset"] for row in rows.values()} == {"tiny"}
    assert sorted(rows) == sorted(variants)


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., data.Dataset]:
    """A function: a set made by TFDS, found, checked and loaded."""

    def load(splits: dict[str, Any], **options: Any) -> data.Dataset:
        prepare(tmp_path / "data", "three", splits, **options)
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
        folder = find_prepared("three", tmp_path / "data")
        assert folder is not None
        known = read_metadata(folder, "three")
        assert len(known.class_names) == 3
        dataset = data.load("three", tmp_path / "load", max_train_examples=None, max_test_examples=None, seed=0)
        assert known.image_shape in ((), dataset.image_shape)
        return dataset

    return load


def test_without_a_test_split_a_stratified_fifth_is_held_out(loaded: Callable[..., data.Dataset]) -> None:
    from bakeoff.lab.plots import images

    dataset = loaded({"train": image_rows(GROUPS)})
    assert (len(dataset.train), len(dataset.test), dataset.test_split) == (48, 12, "train")
    assert np.bincount(dataset.test.labels).tolist() == [4, 4, 4]
    both = np.concatenate([dataset.train.images, dataset.test.images])
    assert len(np.unique(both.reshape(60, -1), axis=0)) == 60
    assert "random fifth of its training images" in images.loaded_words(dataset)


def test_the_load_page_shows_what_tfds_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = prepare(tmp_path / "data", "three", {"train": image_rows(GROUPS), "test": image_rows(GROUPS[:12])})
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    limits = {"max_train_examples": None, "max_test_examples": None}
    asked = {"dataset": "three", "inputs": {}, "output": str(tmp_path / "load")} | limits
    assert "homepage" not in _tables(asked)
    described = json.loads((folder / "dataset_info.json").read_text())
    described |= {"description": "Three <b>kinds</b>. " + 30 * "long ", "citation": "@misc{three}"}
    described |= {"location": {"urls": ["https://example.org/three"]}}
    (folder / "dataset_info.json").write_text(json.dumps(described))
    tables = _tables(asked)
    assert "three/1.0.0" in tables and "https://example.org/three" in tables
    assert f"Three &lt;b&gt;kinds&lt;/b&gt;. {(30 * 'long ').strip()}" in tables
    assert str(tmp_path) not in tables


def _tables(parameters: dict[str, Any]) -> str:
    """The tables of the load page, as HTML."""
    with displayed() as outputs:
        run_cells("1_load", parameters, pages=True)
    return "\n".join(each.data["text/html"] for each in outputs if "text/html" in each.data)


def test_a_test_split_without_labels_is_not_used(loaded: Callable[..., data.Dataset]) -> None:
    dataset = loaded({"train": image_rows(GROUPS), "test": image_rows([-1] * 12), "validation": image_rows(GROUPS[:9])})
    assert (dataset.test_split, len(dataset.test)) == ("validation", 9)
    assert "its test split have no labels" in dataset.notes[0]


def test_training_images_without_a_label_are_refused(loaded: Callable[..., data.Dataset]) -> None:
    with pytest.raises(ValueError, match=r"Of 60 train images, 20 have no label \(-1\)"):
        loaded({"train": image_rows(GROUPS - (GROUPS == 0)), "test": image_rows(GROUPS)})


def test_images_of_several_sizes_are_given_one(loaded: Callable[..., data.Dataset]) -> None:
    rows = [*image_rows(GROUPS[:40]), *image_rows(GROUPS[:20], side=12)]
    dataset = loaded({"train": rows, "test": image_rows(GROUPS[:9], side=600)}, shape=(None, None, 3))
    assert dataset.image_shape == (8, 8, 3)
    assert dataset.test.images.shape == (9, 8, 8, 3)
    assert dataset.notes == (
        "20 training images of other sizes were resized to 8 x 8 pixels.",
        "9 test images of other sizes were resized to 8 x 8 pixels.",
    )
    means = dataset.train.images.mean(axis=(1, 2, 3))
    assert np.array_equal(np.round((means - 30) / 40), dataset.train.labels)


def test_large_images_of_several_sizes_become_smaller(loaded: Callable[..., data.Dataset]) -> None:
    rows = [row for side in (300, 500, 700) for row in image_rows(GROUPS[:3], side=side)]
    assert loaded({"train": rows, "test": rows}, shape=(None, None, 3)).image_shape == (256, 256, 3)


def test_images_of_16_bits_are_converted_and_that_is_said(loaded: Callable[..., data.Dataset]) -> None:
    rows = [{**row, "image": row["image"].astype(np.uint16) * 257} for row in image_rows(GROUPS, channels=1)]
    dataset = loaded({"train": rows, "test": rows}, shape=(8, 8, 1), dtype=np.uint16)
    eight_bits = {row["image"].tobytes() for row in image_rows(GROUPS, channels=1)}
    assert {image.tobytes() for image in np.asarray(dataset.train.images)} == eight_bits
    assert "divided by 257" in dataset.notes[0]


def test_features_of_other_names_are_found(loaded: Callable[..., data.Dataset]) -> None:
    names = {"image": "photo", "label": "target"}
    dataset = loaded({"train": image_rows(GROUPS), "test": image_rows(GROUPS)}, names=names)
    assert np.bincount(dataset.train.labels).tolist() == [20, 20, 20]


def test_a_page_shows_no_warning_of_tfds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from absl import logging

    prepare(tmp_path / "data", "three", {"train": image_rows(GROUPS), "test": image_rows(GROUPS)})
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    logging.set_verbosity(logging.WARNING)
    caplog.clear()
    data.load("three", tmp_path / "load", max_train_examples=None, max_test_examples=None, seed=0)
    assert not caplog.records
