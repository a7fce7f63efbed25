from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.lab import data, files, shapes
from bakeoff.lab import prepared as prepared_sets


def drawn(folder: Path, train: int | None = 40, test: int | None = 20, seed: int = 0) -> data.Dataset:
    return data.load("shapes10", folder, max_train_examples=train, max_test_examples=test, seed=seed)


def read(name: str, folder: Path, train: int | None = None, test: int | None = None) -> data.Dataset:
    return data.load(name, folder, max_train_examples=train, max_test_examples=test, seed=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data sets on disk, as TFDS prepares them."""
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, "tiny", {"train": 30, "test": 12})
    write_prepared(folder, "tiny_ids", {"train": 9, "validation": 6}, with_ids="{split} image {i}")
    write_prepared(folder, "tiny_same_ids", {"train": 9, "test": 6}, with_ids="all one")
    write_prepared(folder, "tiny_sorted", {"train": 300, "test": 12}, in_order=True)
    write_prepared(folder, "tiny_built", {"train": 30, "test": 12})
    described = folder / "tiny_built" / "1.0.0" / "dataset_info.json"  # as the TFDS builder of a set leaves it
    described.write_text(described.read_text().replace("{", '{ "moduleName": "somebody.tiny_built",', 1))
    write_prepared(folder, "tiny_untested", {"train": 9})
    write_prepared(folder, "tiny_sizes", {"train": 9, "test": 9}, sizes=(28, 20))
    write_prepared(folder, "tiny_numbers", {"train": 9, "test": 9}, label_is_class=False)
    return folder


def write_prepared(
    folder: Path,
    name: str,
    splits: dict[str, int],
    *,
    with_ids: str = "",
    in_order: bool = False,
    sizes: tuple[int, ...] = (28,),
    label_is_class: bool = True,
) -> None:
    """A data set of one-channel images with three classes: image i of a split is gray i % 256, its label i % 3.

    in_order: sorted by class instead.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    target = folder / name / "1.0.0"
    target.mkdir(parents=True)
    named = tfds.features.ClassLabel(names=["zero", "one", "two"])
    kinds: dict[str, Any] = {
        "image": tfds.features.Image(shape=(None, None, 1)),
        "label": named if label_is_class else tfds.features.Scalar(np.int64),
    }
    if with_ids:
        kinds |= {"id": tfds.features.Text(), "mask": tfds.features.Image(shape=(4, 4, 1))}
    features = tfds.features.FeaturesDict(kinds)
    infos = []
    for split, count in splits.items():
        writer = tf.io.TFRecordWriter(str(target / f"{name}-{split}.tfrecord-00000-of-00001"))
        for i in range(count):
            side = sizes[i % len(sizes)]
            label = i * 3 // count if in_order else i % 3
            example: dict[str, Any] = {"image": np.full((side, side, 1), i % 256, np.uint8), "label": label}
            if with_ids:
                example |= {"id": with_ids.format(split=split, i=i), "mask": np.zeros((4, 4, 1), np.uint8)}
            writer.write(features.serialize_example(features.encode_example(example)))
        writer.close()
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=[count], num_bytes=0))
    tfds.folder_dataset.write_metadata(data_dir=str(target), features=features, split_infos=infos)


@pytest.fixture
def at_hand(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    return prepared


def test_the_synthetic_data_set_is_stored_whole(tmp_path: Path) -> None:
    dataset = drawn(tmp_path)
    assert (dataset.name, dataset.version, dataset.test_split) == ("shapes10", shapes.VERSION, "test")
    assert dataset.class_names == shapes.CLASS_NAMES
    assert dataset.available == {"train": 50_000, "test": 10_000}
    assert dataset.image_shape == (32, 32, 3)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (40, 20, 10)
    images, labels = shapes.generate("test", 20, 0)
    assert np.array_equal(dataset.test.images, images)
    assert np.array_equal(dataset.test.labels, labels)
    assert dataset.test.labels.dtype == np.int64
    assert len(set(dataset.train.ids) | set(dataset.test.ids)) == 60
    assert isinstance(dataset.train.images, np.memmap)


def test_loading_again_opens_what_is_there_unless_it_was_made_otherwise(tmp_path: Path) -> None:
    drawn(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 8
    again = drawn(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    kept = np.array(again.train.images)
    assert np.array_equal(kept, data.open_dataset(tmp_path).train.images)
    assert not np.array_equal(kept, drawn(tmp_path, seed=9).train.images)


def test_the_description_comes_last(tmp_path: Path) -> None:
    drawn(tmp_path)
    (tmp_path / "dataset.json").unlink()
    (tmp_path / "train_labels.npy").write_bytes(b"half")
    assert len(drawn(tmp_path).train.labels) == 40


def test_same_seed_same_files(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        drawn(tmp_path / name, 20, 10)
        contents = [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]
        digests.append(hashlib.sha256(b"".join(contents)).hexdigest())
    assert digests[0] == digests[1]


def test_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="raise max_test_examples"):
        drawn(tmp_path, 10, 0)


def test_a_prepared_set_is_read_by_name(tmp_path: Path, at_hand: Path) -> None:
    dataset = read("tiny", tmp_path)
    assert (dataset.version, dataset.class_names) == ("1.0.0", ("zero", "one", "two"))
    assert dataset.available == {"train": 30, "test": 12}
    assert dataset.train.images.shape == (30, 28, 28, 1)
    grays = dataset.train.images[:, 5, 5, 0].tolist()
    assert sorted(grays) == list(range(30)) != grays
    assert dataset.train.labels.tolist() == [gray % 3 for gray in grays]
    assert dataset.train.ids.tolist() == [f"train_{gray:05d}" for gray in grays]
    assert sorted(dataset.test.ids)[11] == "test_00011"


def test_a_part_of_sorted_files_is_a_random_sample(
    tmp_path: Path, at_hand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first 60 of 300 images sorted by class would all be of the first class."""
    monkeypatch.setattr(prepared_sets, "_BATCH", 7)
    part, whole = read("tiny_sorted", tmp_path / "part", train=60), read("tiny_sorted", tmp_path / "whole")
    assert np.bincount(part.train.labels).min() > 10
    assert np.bincount(whole.train.labels[-60:]).min() > 10  # what a validation split would hold out
    assert np.array_equal(part.train.images, whole.train.images[:60])
    assert np.array_equal(part.train.ids, whole.train.ids[:60])
    assert part.available == {"train": 300, "test": 12}
    assert len(read("tiny_sorted", tmp_path / "more", test=500).test) == 12
    other = data.load("tiny_sorted", tmp_path / "other", max_train_examples=60, max_test_examples=None, seed=1)
    assert other.train.ids.tolist() != part.train.ids.tolist()


def test_files_that_tfds_shuffled_are_read_in_their_order(tmp_path: Path, at_hand: Path) -> None:
    """So that no image beyond the first n is read, and CIFAR-10 is split where its sources split it."""
    dataset = read("tiny_built", tmp_path, train=7)
    assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(7))
    assert dataset.train.ids[-1] == "train_00006"


def test_ids_that_tell_nothing_apart_are_numbered(tmp_path: Path, at_hand: Path) -> None:
    dataset = read("tiny_same_ids", tmp_path)
    assert sorted(dataset.train.ids) == [f"train_{place:05d}" for place in range(9)]


def test_ids_and_a_validation_split_are_used_and_other_features_are_not(tmp_path: Path, at_hand: Path) -> None:
    dataset = read("tiny_ids", tmp_path)
    assert dataset.test_split == "validation"
    assert dataset.train.ids.tolist() == [f"train image {gray}" for gray in dataset.train.images[:, 0, 0, 0]]
    assert sorted(dataset.test.ids)[0] == "validation image 0"
    assert files.read_json(tmp_path / "dataset.json")["available"] == {"train": 9, "test": 6}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("tiny_numbers", "no features image and label"),
        ("never_prepared", "bakeoff.lab.download dataset never_prepared"),
        ("../tiny", "is not prepared"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, at_hand: Path, name: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        read(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dataset.json").exists()


def test_the_newest_version_is_used(tmp_path: Path, at_hand: Path) -> None:
    for version in ("1.10.0", "1.9.0"):
        target = at_hand / "tiny_versions" / version
        shutil.copytree(at_hand / "tiny" / "1.0.0", target)
        description = (target / "dataset_info.json").read_text().replace('"1.0.0"', f'"{version}"')
        (target / "dataset_info.json").write_text(description)
        for path in target.glob("tiny-*"):
            path.rename(target / path.name)
    assert read("tiny_versions", tmp_path).version == "1.10.0"
