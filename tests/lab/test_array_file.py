"""Images in a .npz file as a data set: what is read, and the sentence for what cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.lab import array_file, data
from bakeoff.lab.plots import images as sentences

LABELS = np.arange(60) % 3


def pixels(labels: Any = LABELS, shape: tuple[int, ...] = (8, 8, 3)) -> np.ndarray:
    """Images whose brightness says the class, no two alike."""
    bright = 60 * np.abs(np.asarray(labels)).reshape(len(labels), -1)[:, 0]
    flat = bright[:, None] + np.arange(np.prod(shape)) % 7 + np.arange(len(labels))[:, None]
    return flat.reshape(-1, *shape).astype(np.uint8)


def saved(folder: Path, **arrays: Any) -> Path:
    """A file of these arrays over sound ones; None leaves one out."""
    sound = {"x_train": pixels(), "y_train": LABELS, "x_test": pixels(LABELS[:12]), "y_test": LABELS[:12]}
    path = folder / "my images.npz"
    np.savez(path, **{name: array for name, array in (sound | arrays).items() if array is not None})
    return path


def loaded(path: Path, seed: int = 0, train: int | None = None) -> data.Dataset:
    limits = {"max_train_examples": train, "max_test_examples": None}
    return data.load(f"npz:{path}", path.parent / "load", seed=seed, **limits)


def test_arrays_are_stored_in_a_random_order_with_their_labels(tmp_path: Path) -> None:
    dataset = loaded(saved(tmp_path))
    assert (dataset.name, dataset.kind, dataset.version) == ("npz:my images.npz", "npz", "")
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.available == {"train": 60, "test": 12}
    assert dataset.train.labels.tolist() != LABELS.tolist()
    assert np.array_equal(dataset.train.images[:, 0, 0, 0] - dataset.train.labels * 60, _places(dataset.train))
    assert sentences.loaded_words(dataset) == "The images come from a file of NumPy arrays, npz:my images.npz."


def _places(split: data.Split) -> list[int]:
    return [int(name.rpartition("_")[2]) for name in split.ids]


def test_names_ids_and_an_order_that_is_random_already_are_kept(tmp_path: Path) -> None:
    more = {"class_names": ["ä b", "10", "2"], "train_ids": [f"cell {k}" for k in range(60)], "shuffled": True}
    dataset = loaded(saved(tmp_path, **more), train=7)
    assert dataset.class_names == ("ä b", "10", "2")
    assert dataset.train.ids.tolist() == [f"cell {k}" for k in range(7)]
    assert dataset.train.labels.tolist() == LABELS[:7].tolist()


def test_the_names_of_medmnist(tmp_path: Path) -> None:
    """28 x 28 gray, labels in a column, with validation images beside the test images."""
    gray, column = pixels(shape=(28, 28)), LABELS[:, None]
    arrays = {
        f"{split}_{what}": array
        for split in ("train", "val", "test")
        for what, array in (("images", gray), ("labels", column))
    }
    none = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"))
    dataset = loaded(saved(tmp_path, **none, **arrays))
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.test_split == "test" and "validation images are not used" in dataset.notes[0]


def test_without_test_images_validation_images_or_a_stratified_fifth_are_tested_on(tmp_path: Path) -> None:
    none = {"x_test": None, "y_test": None}
    held_out = loaded(saved(tmp_path, **none))
    assert (len(held_out.train), len(held_out.test), held_out.test_split) == (48, 12, "train")
    assert np.bincount(held_out.test.labels).tolist() == [4, 4, 4]
    assert not {*held_out.train.ids} & {*held_out.test.ids}
    assert len(np.unique(np.concatenate([held_out.train.images, held_out.test.images]).reshape(60, -1), axis=0)) == 60
    validated = loaded(saved(tmp_path, **none, x_val=pixels(LABELS[:6]), y_val=LABELS[:6]), seed=1)
    assert (len(validated.train), len(validated.test), validated.test_split) == (60, 6, "validation")


def test_numbers_that_do_not_begin_with_0_keep_their_order_as_names(tmp_path: Path) -> None:
    labels = np.array([2, 10, 100])[LABELS]
    dataset = loaded(saved(tmp_path, y_train=labels, y_test=labels[:12].astype(float)))
    assert dataset.class_names == ("2", "10", "100")
    assert np.bincount(dataset.test.labels).tolist() == [4, 4, 4]


def test_a_hundred_classes(tmp_path: Path) -> None:
    labels = np.arange(300) % 100
    dataset = loaded(saved(tmp_path, x_train=pixels(labels), y_train=labels, x_test=None, y_test=None))
    assert dataset.class_names == tuple(map(str, range(100)))
    assert len(np.unique(dataset.train.labels)) == 100


def test_16_bits_become_8_and_that_is_said(tmp_path: Path) -> None:
    dataset = loaded(saved(tmp_path, x_train=pixels().astype(np.uint16) * 257))
    assert {image.tobytes() for image in np.asarray(dataset.train.images)} == {image.tobytes() for image in pixels()}
    assert "x_train has 16 bits a channel" in dataset.notes[0]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"x_train": None}, r"no array x_train \(its arrays: y_train, x_test, y_test\)"),
    "no labels": ({"y_test": None}, "no array y_test"),
    "other count": ({"y_train": LABELS[:59]}, r"y_train of my images.npz has the shape \(59,\) for 60 images"),
    "ids": ({"test_ids": ["a"]}, r"test_ids of my images.npz has the shape \(1,\) for 12 images"),
    "no label": ({"y_train": np.where(LABELS == 0, -1, LABELS)}, r"y_train of .* no label for 20 of 60 images \(-1\)"),
    "several labels": ({"y_train": np.eye(3)[LABELS]}, r"shape \(60, 3\), several labels an image"),
    "text labels": ({"y_train": np.array(list("abc"))[LABELS]}, "y_train of my images.npz holds <U1"),
    "half labels": ({"y_train": LABELS + 0.5}, "y_train of my images.npz holds float64"),
    "one class": ({"y_train": LABELS * 0, "y_test": LABELS[:12] * 0}, "one class only"),
    "an empty class": ({"class_names": list("abcd")}, "no training image of the class 'd'"),
    "too few names": ({"class_names": list("ab")}, "names 2 classes, and has the label 2"),
    "equal names": ({"class_names": list("aba")}, "two classes of the name 'a'"),
    "only tested": ({"y_train": LABELS % 2}, "test images of the class '2' and no training image"),
    "floats": ({"x_train": pixels() / 255}, "x_train of my images.npz holds float64; save .* uint8"),
    "flat": ({"x_train": pixels().reshape(60, -1)}, r"x_train of my images.npz has the shape \(60, 192\)"),
    "four channels": ({"x_train": pixels(shape=(8, 8, 4))}, r"shape \(60, 8, 8, 4\)"),
    "other sizes": (
        {"x_test": pixels(LABELS[:12], (9, 8, 3))},
        r"images of \(8, 8, 3\) and test images of \(9, 8, 3\)",
    ),
    "nothing": ({"x_train": pixels()[:0], "y_train": LABELS[:0]}, "x_train of my images.npz is empty"),
    "objects": ({"y_train": np.array([{}] * 60)}, "my images.npz holds Python objects"),
    "unknown set": ({"data_set": "mnist 3.0.1"}, "'mnist', which cannot be checked"),
    "false set": ({"data_set": "cifar10 3.0.2"}, "its training images are not those of cifar10"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    arrays, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        loaded(saved(tmp_path, **arrays))
    assert not (tmp_path / "load" / "dataset.json").exists()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and no more"])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.npz is damaged, or no .npz file"):
        loaded(tmp_path / "bad.npz")


def test_a_file_that_is_cut_short_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[1000] ^= 255
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"my images.npz is damaged"):
        loaded(path)


def test_a_known_data_set_counts_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of its images; and the page says on whose word."""
    monkeypatch.setattr(
        array_file, "KNOWN", {"cifar10": (array_file.content_digest(pixels(), LABELS), ("a", "b", "c"))}
    )
    order = np.random.default_rng(0).permutation(60)
    dataset = loaded(saved(tmp_path, x_train=pixels()[order], y_train=LABELS[order], data_set="cifar10 3.0.2"))
    assert (dataset.name, dataset.version, dataset.kind) == ("cifar10", "3.0.2", "npz")
    assert dataset.class_names == ("a", "b", "c")
    assert "The file says that it holds cifar10 3.0.2: its training images" in sentences.loaded_words(dataset)


def test_neither_tensorflow_nor_tfds_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tests.lab.cells import run_cells\n"
        "limits = {'max_train_examples': 40, 'max_test_examples': 10, 'inputs': {}}\n"
        f"for name in ('npz:{saved(tmp_path)}', 'shapes10'):\n"
        f"    run_cells('1_load', limits | {{'dataset': name, 'output': '{tmp_path}/load'}}, pages=True)\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'keras'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & heavy))"
    )
    project = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
