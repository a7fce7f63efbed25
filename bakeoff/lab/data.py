"""Images and labels: read from a source (see `Source`), stored once, opened memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bakeoff.lab import files, shapes
from bakeoff.lab.streams import generator

_DESCRIPTION = "dataset.json"  # written last: where it is, the arrays are whole


@dataclass(frozen=True)
class Split:
    """images (n, height, width, channels) uint8, memory-mapped; labels (n,) int64; ids (n,) text, unique."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set as it was loaded.

    kind: where it is from: "synthetic", "tfds", or what stands before the colon of images of one's own. available:
    images in each split before the cut. test_split: the source's name for the split that the test images are of;
    "train" where a part of it was held out for want of another. notes: sentences about what was done to the images, or
    which of them are used.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    available: dict[str, int]
    kind: str = "tfds"
    test_split: str = "test"
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def load(
    dataset: str,
    folder: str | Path,
    *,
    max_train_examples: int | None,
    max_test_examples: int | None,
    seed: int,
    images: str | Path | None = None,
    skip_broken: bool = False,
) -> Dataset:
    """Write both splits, or the first images of each, into `folder`, or open what is there.

    `dataset` is shapes10, a name that TFDS has prepared below TFDS_DATA_DIR (nothing is downloaded here), or images of
    one's own: "folder:PATH", "npz:FILE" or "csv:FILE". `images`: where these lie, if not where `dataset` says.
    `skip_broken`: files that are no whole images are left out, not refused. Images that are not in random order
    yet are put into one drawn with `seed`, so that the first n of any split, here and in every later stage, are a
    random sample of it; `seed` is that of the synthetic images as well. Limits of None mean every image. Raises
    ValueError for data that are not prepared or are no images with class labels.
    """
    folder = Path(folder)
    given = {"dataset": dataset, "train": max_train_examples, "test": max_test_examples, "seed": seed}
    given |= {"skip_broken": skip_broken}
    files.claim(folder, given, (_DESCRIPTION,))
    if not (folder / _DESCRIPTION).is_file():
        source = open_source(dataset, seed, images, skip_broken)
        for role, limit in (("train", max_train_examples), ("test", max_test_examples)):
            available = source.available[role]
            count = available if limit is None else min(limit, available)
            if count < 1:
                raise ValueError(f"The {role} split of {source.name} would have no images; raise max_{role}_examples.")
            _write_split(source, _order(source, role, count, seed), folder, role)
        files.write_json(folder / _DESCRIPTION, _described(source, folder))
    return open_dataset(folder)


def open_dataset(folder: str | Path) -> Dataset:
    """The data set that `load` wrote into `folder`; images stay on disk until they are used."""
    folder = Path(folder)
    description = files.read_json(folder / _DESCRIPTION)
    return Dataset(
        name=description["name"],
        version=description["version"],
        class_names=tuple(description["class_names"]),
        train=_open_split(folder, "train"),
        test=_open_split(folder, "test"),
        available=description["available"],
        kind=description["kind"],
        test_split=description["test_split"],
        notes=tuple(description["notes"]),
    )


def first(split: Split, n: int) -> Split:
    """The first `n` examples of a split, without copying images."""
    return replace(split, images=split.images[:n], labels=split.labels[:n], ids=split.ids[:n])


# ---------------------------------------------------------------- storing

_Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # images, labels, and ids where the data have some


class Source(Protocol):
    """Where images come from. available: images of each role. shuffled: whether they are in random order as they are.

    kind, test_split and notes: see Dataset; the notes are whole once all images are read.
    """

    kind: str
    name: str
    version: str
    class_names: tuple[str, ...]
    available: dict[str, int]
    test_split: str
    shuffled: bool
    notes: list[str]

    def batches(self, role: str, positions: np.ndarray) -> Iterator[_Batch]:
        """The examples of a role ("train" or "test") at these positions, in ascending order."""
        ...


def open_source(dataset: str, seed: int, images: str | Path | None = None, skip_broken: bool = False) -> Source:
    """The source that a data set is read from; raises ValueError where it cannot be used."""
    if dataset == shapes.NAME:
        return _Synthetic(seed)
    kind, colon, place = dataset.partition(":")
    path = Path(images or place).expanduser()
    if colon and kind == "npz":
        from bakeoff.lab.array_file import ArrayFile

        return ArrayFile(path, seed)
    if colon:
        from bakeoff.lab.image_files import ImageFiles
        from bakeoff.lab.image_listing import hub_table

        if kind == "hf" and not images:
            from bakeoff.lab.prepared import data_dir

            path = hub_table(place, data_dir())
        return ImageFiles(kind, path, seed, skip_broken=skip_broken)
    from bakeoff.lab.prepared import Prepared

    return Prepared(dataset, seed)


def _order(source: Source, role: str, count: int, seed: int) -> np.ndarray:
    """Positions in the source of the images to store, in the order to store them in.

    Files sorted by class are common; their first n images would lack classes, and so would their last ones.
    """
    if source.shuffled:
        return np.arange(count)
    random = generator(seed, f"order of {role} images")
    return random.permutation(source.available[role])[:count]


def _write_split(source: Source, order: np.ndarray, folder: Path, role: str) -> None:
    """Images go to the file batch by batch, so that a large data set needs no memory of its size."""
    rows, count = np.argsort(order), len(order)  # rows[k]: where the k-th image that is read is stored
    labels, ids, done = np.empty(count, np.int64), np.empty(count, object), 0
    with files.replacing(folder / f"{role}_images.npy") as temporary:
        stored = None
        for images, some_labels, some_ids in source.batches(role, order[rows]):
            if stored is None:
                shape = (count, *images.shape[1:])
                stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            places = rows[done : done + len(images)]
            stored[places], labels[places], ids[places] = images, some_labels, some_ids
            done += len(images)
        del stored  # closes the file
        _check_labels(labels[:done], role)
        if done < count:
            raise ValueError(f"The {role} split has {done} images where its description says {count}; prepare it anew.")
    files.write_npy(folder / f"{role}_labels.npy", labels)
    files.write_npy(folder / f"{role}_ids.npy", _unique(ids, role, order))


def _check_labels(labels: np.ndarray, role: str) -> None:
    if missing := int((labels < 0).sum()):
        raise ValueError(
            f"Of {len(labels)} {role} images, {missing} have no label (-1); label them, or remove them from the set."
        )


def _unique(ids: np.ndarray, role: str, order: np.ndarray) -> np.ndarray:
    """The ids that the data have where they tell the images apart, else the split and the place in it."""
    if None in ids or len(set(ids)) < len(ids):
        return np.array([f"{role}_{position:05d}" for position in order])
    return ids.astype(np.str_)


def _open_split(folder: Path, role: str) -> Split:
    images = np.load(folder / f"{role}_images.npy", mmap_mode="r")
    return Split(images, np.load(folder / f"{role}_labels.npy"), np.load(folder / f"{role}_ids.npy"))


def _described(source: Source, folder: Path) -> dict[str, Any]:
    train, test = _open_split(folder, "train"), _open_split(folder, "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{source.name} has training images of {train.images.shape[1:]} and test images of "
            f"{test.images.shape[1:]}; choose a data set whose images are all of one size."
        )
    return {
        "name": source.name,
        "kind": source.kind,
        "version": source.version,
        "class_names": list(source.class_names),
        "image_shape": list(train.images.shape[1:]),
        "train_examples": len(train),
        "test_examples": len(test),
        "available": source.available,
        "test_split": source.test_split,
        "notes": source.notes,
    }


# ---------------------------------------------------------------- the synthetic fallback


class _Synthetic:
    """shapes10 as a source."""

    kind = "synthetic"
    name = shapes.NAME
    version = shapes.VERSION
    class_names = shapes.CLASS_NAMES
    available = shapes.AVAILABLE
    test_split = "test"
    shuffled = True

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.notes: list[str] = []

    def batches(self, role: str, positions: np.ndarray) -> Iterator[_Batch]:
        """All of it in one batch: it fits into memory."""
        yield (*shapes.generate(role, len(positions), self.seed), None)
