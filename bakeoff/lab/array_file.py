"""Arrays in a .npz file as a source of images: x_train, y_train, x_test, y_test, or MedMNIST's names."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bakeoff.lab import own_labels, splits

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]

# The split that a part of the file is called -> what its arrays may be called.
_NAMES = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
}
_BATCH = 10_000  # images copied at once
# Published data sets that a file may say that it holds: the digest of their training images and labels, their classes.
KNOWN = {
    "cifar10": (
        "8bf7d13008ffe5c5f9e6a27587981784cccff5f0752868d955cfc6448a2d7c64",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
}


class ArrayFile:
    """The arrays of a .npz file, as a `data.Source`.

    Optional arrays say more: class_names (text, in the order of the labels), train_ids and test_ids (text, one an
    image; test_ids are of the split that is tested on), shuffled (true: the images are in random order already, and
    stay in it), data_set (the name of a published data set that the file holds, with its version: "cifar10 3.0.2").

    Raises ValueError for a file that is damaged, or whose arrays are no images with one class each.
    """

    kind = "npz"

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._arrays = _read(path)
        self.notes: list[str] = []
        self.test_split = next((split for split in ("test", "validation") if self._found(split)), "train")
        if self.test_split == "test" and self._found("validation"):
            self.notes.append("Its validation images are not used.")
        self._images = {"train": self._checked_images("train")}
        labels = {"train": self._checked_labels("train")}
        self._ids = {"train": self._arrays.get("train_ids")}
        if self.test_split != "train":
            self._images["test"] = self._checked_images(self.test_split)
            labels["test"] = self._checked_labels(self.test_split)
            self._ids["test"] = self._arrays.get("test_ids")
            self._check_shapes()
        self._check_ids()
        self.class_names, self._labels = own_labels.numbered(labels, self._class_names(), path.name)
        self._rows = {role: np.arange(len(each)) for role, each in self._labels.items()}
        if self.test_split == "train":
            self._rows = dict(zip(("train", "test"), splits.held_out_fifth(self._labels["train"], seed), strict=True))
        self.available = {role: len(rows) for role, rows in self._rows.items()}
        self.shuffled = bool(np.all(self._arrays.get("shuffled", False)))
        self.name, self.version = f"{self.kind}:{path.name}", ""
        if "data_set" in self._arrays:
            self.name, self.version = self._published()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self._images["train"].shape[1:]
        return height, width, channels

    def batches(self, role: str, positions: np.ndarray) -> Iterator[Batch]:
        """The examples at `positions`."""
        split = role if role in self._images else "train"
        rows = self._rows[role][positions]
        ids = self._ids[split]
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            yield _as_bytes(self._images[split][some]), self._labels[split][some], None if ids is None else ids[some]

    # ---------------------------------------------------------------- what the file holds

    def _found(self, split: str) -> tuple[str, str] | None:
        """The names of a split's arrays in this file."""
        return next((names for names in _NAMES[split] if names[0] in self._arrays), None)

    def _array(self, split: str, which: int) -> tuple[str, np.ndarray]:
        names = self._found(split) or _NAMES[split][0]
        if names[which] not in self._arrays:
            there = ", ".join(self._arrays) or "none"
            raise ValueError(
                f"{self._path.name} has no array {names[which]} (its arrays: {there}); it must hold x_train and "
                "y_train, and may hold x_test and y_test."
            )
        return names[which], self._arrays[names[which]]

    def _checked_images(self, split: str) -> np.ndarray:
        name, images = self._array(split, 0)
        what = f"{name} of {self._path.name}"
        if images.ndim == 3:
            images = images[..., np.newaxis]
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(
                f"{what} has the shape {images.shape}; images have (images, height, width), or with 1 or 3 channels "
                "at the end."
            )
        if images.dtype == np.uint16:
            self.notes.append(f"{name} has 16 bits a channel; each value was divided by 257, so that 8 bits hold it.")
        elif images.dtype != np.uint8:
            raise ValueError(f"{what} holds {images.dtype}; save whole numbers from 0 to 255 as uint8.")
        if 0 in images.shape:
            raise ValueError(f"{what} is empty (its shape is {images.shape}); leave it out, or save images in it.")
        return images

    def _checked_labels(self, split: str) -> np.ndarray:
        (name, labels), (images_name, images) = self._array(split, 1), self._array(split, 0)
        what = f"{name} of {self._path.name}"
        if len(labels) != len(images) if labels.ndim else True:
            raise ValueError(f"{what} has the shape {labels.shape} for {len(images)} images in {images_name}.")
        return own_labels.one_each(labels, what)

    def _check_shapes(self) -> None:
        train, test = self._images["train"].shape[1:], self._images["test"].shape[1:]
        if train != test:
            raise ValueError(f"{self._path.name} has training images of {train} and test images of {test}.")

    def _check_ids(self) -> None:
        for role, ids in self._ids.items():
            if ids is not None and ids.shape != (count := len(self._images[role]),):
                raise ValueError(f"{role}_ids of {self._path.name} has the shape {ids.shape} for {count} images.")

    def _class_names(self) -> tuple[str, ...] | None:
        names = self._arrays.get("class_names")
        return None if names is None else tuple(str(name) for name in names.ravel())

    def _published(self) -> tuple[str, str]:
        """Name and version of the published data set that the file says it holds."""
        name, _, version = str(self._arrays["data_set"]).partition(" ")
        if name not in KNOWN:
            raise ValueError(
                f"{self._path.name} says in data_set that it holds {name!r}, which cannot be checked (known are: "
                f"{', '.join(KNOWN)}); leave that array out."
            )
        digest, self.class_names = KNOWN[name]
        if content_digest(self._images["train"], self._labels["train"]) != digest:
            raise ValueError(
                f"{self._path.name} says in data_set that it holds {name}, and its training images are not those of "
                f"{name}; leave that array out."
            )
        self.notes.append(
            f"The file says that it holds {name} {version}".strip()
            + ": its training images and labels are those, by their digest; that of the test images is not known."
        )
        return name, version


def content_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """A digest of images with their labels that their order does not change."""
    total = 0
    for image, label in zip(np.ascontiguousarray(images), labels, strict=True):
        content = hashlib.blake2b(image.data, digest_size=32, salt=int(label).to_bytes(8, "big", signed=True))
        total += int.from_bytes(content.digest(), "big")
    return f"{total % 2**256:064x}"


def _read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        objects = "Object arrays" in str(error)
        raise ValueError(
            f"{path.name} holds Python objects; save its arrays as numbers and text (dtype=str)."
            if objects
            else f"{path.name} is damaged, or no .npz file; write it again with numpy.savez."
        ) from None


def _as_bytes(images: np.ndarray) -> np.ndarray:
    """Images of 8 bits a channel."""
    return images if images.dtype == np.uint8 else ((images.astype(np.int32) + 128) // 257).astype(np.uint8)
