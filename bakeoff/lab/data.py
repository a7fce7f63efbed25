"""Images and labels: read from a prepared TFDS data set or drawn by `shapes`, stored once, opened memory-mapped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bakeoff.lab import files, shapes
from bakeoff.lab.streams import generator

_DESCRIPTION = "dataset.json"  # written last: where it is, the arrays are whole
_BATCH = 1000  # images decoded at once


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

    available: images in each split before the cut. test_split: the source's name for the split that is used as
    test set, "test" but for data that have only a validation split.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    available: dict[str, int]
    test_split: str = "test"

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
) -> Dataset:
    """Write both splits, or the first images of each, into `folder`, or open what is there.

    `dataset` is shapes10 or a name that TFDS has prepared below TFDS_DATA_DIR (nothing is downloaded here). Images
    that are not in random order yet are put into one drawn with `seed`, so that the first n of any split, here and in
    every later stage, are a random sample of it; `seed` is that of the pictures of shapes10 as well. Limits of None
    mean every image. Raises ValueError for data that are not prepared or are no pictures with class labels.
    """
    folder = Path(folder)
    if not (folder / _DESCRIPTION).is_file():
        source = _Drawn(seed) if dataset == shapes.NAME else _Prepared(dataset)
        for role, limit in (("train", max_train_examples), ("test", max_test_examples)):
            available = source.available[role]
            count = available if limit is None else min(limit, available)
            if count < 1:
                raise ValueError(f"The {role} split of {dataset} would have no images; raise max_{role}_examples.")
            _write_split(source, _order(source, role, count, seed), folder, role)
        files.write_json(folder / _DESCRIPTION, _described(dataset, source, folder))
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
        test_split=description["test_split"],
    )


def first(split: Split, n: int) -> Split:
    """The first `n` examples of a split, without copying images."""
    return replace(split, images=split.images[:n], labels=split.labels[:n], ids=split.ids[:n])


# ---------------------------------------------------------------- storing

_Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # images, labels, and ids where the data have some


class Source(Protocol):
    """Where images come from. available: images of each role. shuffled: whether they are in random order as they are.

    test_split: the source's name for the split that is used as test set.
    """

    version: str
    class_names: tuple[str, ...]
    available: dict[str, int]
    test_split: str
    shuffled: bool

    def batches(self, role: str, positions: np.ndarray) -> Iterator[_Batch]:
        """The examples of a role ("train" or "test") at these positions, in ascending order."""
        ...


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
    files.write_npy(folder / f"{role}_labels.npy", labels)
    files.write_npy(folder / f"{role}_ids.npy", _unique(ids, role, order))


def _unique(ids: np.ndarray, role: str, order: np.ndarray) -> np.ndarray:
    """The ids that the data have where they tell the images apart, else the split and the place in it."""
    if None in ids or len(set(ids)) < len(ids):
        return np.array([f"{role}_{position:05d}" for position in order])
    return ids.astype(np.str_)


def _open_split(folder: Path, role: str) -> Split:
    images = np.load(folder / f"{role}_images.npy", mmap_mode="r")
    return Split(images, np.load(folder / f"{role}_labels.npy"), np.load(folder / f"{role}_ids.npy"))


def _described(dataset: str, source: Source, folder: Path) -> dict[str, Any]:
    train, test = _open_split(folder, "train"), _open_split(folder, "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{dataset} has training images of {train.images.shape[1:]} and test images of {test.images.shape[1:]}; "
            "choose a data set whose images are all of one size."
        )
    return {
        "name": dataset,
        "version": source.version,
        "class_names": list(source.class_names),
        "image_shape": list(train.images.shape[1:]),
        "train_examples": len(train),
        "test_examples": len(test),
        "available": source.available,
        "test_split": source.test_split,
    }


# ---------------------------------------------------------------- the drawn stand-in


class _Drawn:
    """shapes10 as a source."""

    version = shapes.VERSION
    class_names = shapes.CLASS_NAMES
    available = shapes.AVAILABLE
    test_split = "test"
    shuffled = True

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def batches(self, role: str, positions: np.ndarray) -> Iterator[_Batch]:
        """All of it in one batch: it fits into memory."""
        yield (*shapes.generate(role, len(positions), self.seed), None)


# ---------------------------------------------------------------- prepared by TFDS


class _Prepared:
    """A data set that TFDS has prepared on this machine, as a source."""

    def __init__(self, dataset: str) -> None:
        import tensorflow_datasets as tfds

        self._name = dataset
        folder = _prepared_folder(dataset)
        self._builder = tfds.builder_from_directory(folder)
        self._features = dict(self._builder.info.features.items())
        self._check_features(tfds.features)
        self.version = str(self._builder.info.version)
        self.class_names = tuple(self._features["label"].names)
        self.test_split = self._test_split()
        self.available = {"train": self._count("train"), "test": self._count(self.test_split)}
        # TFDS shuffles what the builder of a set prepares, unless told not to. Files written without a builder are
        # in an order of their writer's.
        described = files.read_json(folder / "dataset_info.json")
        self.shuffled = "moduleName" in described and not described.get("disableShuffling", False)

    def batches(self, role: str, positions: np.ndarray) -> Iterator[_Batch]:
        """The examples at `positions`, from one pass over the files. No other image is decoded."""
        import tensorflow as tf

        options = tf.data.Options()
        options.autotune.enabled = False  # see `Batches.feed`
        for batch in self._decoded(self._examples(role, positions).batch(_BATCH).prefetch(2).with_options(options)):
            yield batch["image"], batch["label"], _as_text(batch["id"]) if "id" in batch else None

    def _examples(self, role: str, positions: np.ndarray) -> Any:
        """image, label and, where there are some, ids of the examples at `positions`: a tf.data.Dataset."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

        wanted = dict.fromkeys({"image", "label", "id"} & set(self._features), True)
        last = int(positions[-1]) + 1
        data = self._builder.as_dataset(
            split=f"{'train' if role == 'train' else self.test_split}[:{last}]",
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(wanted, decoders={"image": tfds.decode.SkipDecoding()}),
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, add_tfds_id=False),
        )
        if len(positions) < last:
            kept = tf.constant(np.isin(np.arange(last), positions))
            data = data.enumerate().filter(lambda position, _: kept[position]).map(lambda _, example: example)
        decode = self._features["image"].decode_example
        return data.map(lambda example: {**example, "image": decode(example["image"])}, os.cpu_count())

    def _decoded(self, data: Any) -> Iterator[dict[str, np.ndarray]]:
        import tensorflow as tf

        try:
            yield from data.as_numpy_iterator()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"The images of {self._name} cannot be stacked; choose a data set whose images are all of one size."
            ) from error

    def _check_features(self, kinds: Any) -> None:
        image, label = (self._features.get(name) for name in ("image", "label"))
        if not isinstance(image, kinds.Image) or not isinstance(label, kinds.ClassLabel):
            raise ValueError(
                f"The data set {self._name} has no features image and label (one class a picture) but "
                f"{', '.join(self._features)}; choose an image classification set such as cifar10."
            )
        if image.np_dtype != np.uint8:
            raise ValueError(f"The images of {self._name} are {image.np_dtype.__name__}; choose a set of uint8 images.")

    def _test_split(self) -> str:
        splits = self._builder.info.splits
        name = next((name for name in ("test", "validation") if name in splits), None)
        if name is None or "train" not in splits:
            raise ValueError(
                f"The data set {self._name} has the splits {', '.join(splits) or 'none'}; needed are train and test "
                "(or validation), so choose another set."
            )
        return name

    def _count(self, split: str) -> int:
        return int(self._builder.info.splits[split].num_examples)


def data_dir() -> Path:
    """Where TFDS keeps prepared data: TFDS_DATA_DIR, or its own default folder."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _prepared_folder(dataset: str) -> Path:
    """The folder of the newest version of `dataset` ("set" or "set/config") below `data_dir`."""
    named = re.fullmatch(r"\w+(/\w[\w.-]*)?", dataset)
    folders = [path.parent for path in (data_dir() / dataset).glob("*/dataset_info.json")] if named else []
    versions = [path for path in folders if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    if not versions:
        raise ValueError(
            f"The data set {dataset!r} is not prepared in {data_dir()}; run `python -m bakeoff.lab.download dataset "
            f"{dataset}` once, or set dataset to {shapes.NAME}, which needs no download."
        )
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def _as_text(ids: np.ndarray) -> np.ndarray:
    return np.array([one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in ids.tolist()])
