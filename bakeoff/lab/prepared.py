"""Data sets that TFDS has prepared on this machine, as a source of images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.lab import files, shapes, sizes, splits

_BATCH = 1000  # images decoded at once
_LOOKED_AT = 200  # images whose sizes say which one all are given
_PROBED = 100  # labels that say whether a split has any

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class Prepared:
    """A data set that TFDS has prepared, as a `data.Source`.

    Raises ValueError for data that are not prepared or are no images with class labels.
    """

    kind = "tfds"

    def __init__(self, dataset: str, seed: int) -> None:
        import tensorflow_datasets as tfds
        from absl import logging

        logging.set_verbosity(logging.ERROR)  # TFDS warns of names that it uses itself, and a page would show it
        folder = _prepared_folder(dataset)
        self.name, self._builder = dataset, tfds.builder_from_directory(folder)
        self._features = dict(self._builder.info.features.items())
        self._image = self._feature(tfds.features.Image, "image")
        self._label = self._feature(tfds.features.ClassLabel, "label")
        self.notes: list[str] = []
        self._check_pixels()
        self.version = str(self._builder.info.version)
        self.class_names = tuple(self._features[self._label].names)
        # TFDS shuffles what the builder of a set prepares, unless told not to. Files written without a builder are
        # in an order of their writer's.
        described = files.read_json(folder / "dataset_info.json")
        self.shuffled = "moduleName" in described and not described.get("disableShuffling", False)
        self.test_split = self._test_split()
        self._parts: dict[str, np.ndarray] = {}  # role -> positions in the split train, where both roles are of it
        if self.test_split == "train":
            self._hold_out(seed)
        self.available = {role: len(self._parts.get(role, ())) or self._count(self._split(role)) for role in _ROLES}
        self._resized: Counter[str] = Counter()
        self._size = self._common_size()

    def batches(self, role: str, positions: np.ndarray) -> Iterator[Batch]:
        """The examples at `positions`, from one pass over the files. No other image is decoded."""
        if role in self._parts:
            positions = self._parts[role][positions]
        for batch in self._read(self._fitted(self._examples(self._split(role), positions))):
            self._resized[role] += int(batch["resized"].sum())
            yield batch["image"], batch["label"], _as_text(batch["id"]) if "id" in batch else None
        self.notes += sizes.resized_note(self._resized[role], role, self._size)

    # ---------------------------------------------------------------- what the set has

    def _feature(self, kind: Any, usual: str) -> str:
        """The feature of a kind: that of the usual name, else the only one."""
        found = [name for name, feature in self._features.items() if isinstance(feature, kind)]
        if usual not in found and len(found) != 1:
            raise ValueError(
                f"The data set {self.name} has no features image and label (one class an image) but "
                f"{', '.join(self._features)}; choose an image classification set such as cifar10."
            )
        return usual if usual in found else found[0]

    def _check_pixels(self) -> None:
        dtype = self._features[self._image].np_dtype
        if dtype == np.uint16:
            self.notes.append(
                "Its images have 16 bits a channel; each value was divided by 257, so that 8 bits hold it."
            )
        elif dtype != np.uint8:
            raise ValueError(f"The images of {self.name} are {dtype.__name__}; choose a set of uint8 images.")

    def _test_split(self) -> str:
        """The split to test on: test, else validation, the first with labelled images; "train" where there is none."""
        if not self._count("train"):
            found = ", ".join(self._builder.info.splits) or "none"
            raise ValueError(f"The data set {self.name} has no training images (splits: {found}); choose another set.")
        for name in ("test", "validation"):
            if not self._count(name):
                continue
            if np.any(self._labels(name, _PROBED) >= 0):
                return name
            self.notes.append(f"The images of its {name} split have no labels, so that split is not used.")
        return "train"

    def _hold_out(self, seed: int) -> None:
        labels = self._labels("train", self._count("train"))
        if labels.min() < 0:
            missing = int((labels < 0).sum())
            raise ValueError(
                f"Of the {len(labels)} training images of {self.name}, {missing} have no label (-1); remove them."
            )
        self._parts = dict(zip(_ROLES, splits.held_out_fifth(labels, seed), strict=True))

    def _split(self, role: str) -> str:
        return "train" if role == "train" else self.test_split

    def _count(self, split: str) -> int:
        there = self._builder.info.splits
        return int(there[split].num_examples) if split in there else 0

    # ---------------------------------------------------------------- reading

    def _labels(self, split: str, count: int) -> np.ndarray:
        """The labels of the first `count` examples of a split, without any image."""
        data = self._open(split, min(count, self._count(split)), {self._label: True})
        return np.concatenate([batch[self._label] for batch in self._read(data)])

    def _examples(self, split: str, positions: np.ndarray) -> Any:
        """image, label and, where there are some, ids of the examples at `positions`: a tf.data.Dataset."""
        import tensorflow as tf

        wanted = dict.fromkeys({self._image, self._label, "id"} & set(self._features), True)
        last = int(positions[-1]) + 1
        data = self._open(split, last, wanted)
        if len(positions) < last:
            kept = tf.constant(np.isin(np.arange(last), positions))
            data = data.enumerate().filter(lambda position, _: kept[position]).map(lambda _, example: example)
        decode = self._features[self._image].decode_example

        def example(stored: dict[str, Any]) -> dict[str, Any]:
            image = decode(stored[self._image])
            if image.dtype == tf.uint16:
                image = tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
            more = {"id": stored["id"]} if "id" in wanted else {}
            return {"image": image, "label": stored[self._label], "resized": False, **more}

        return data.map(example, os.cpu_count())

    def _open(self, split: str, count: int, wanted: dict[str, bool]) -> Any:
        """The first `count` examples of a split in the order of the files, images still encoded."""
        import tensorflow_datasets as tfds

        encoded = {self._image: tfds.decode.SkipDecoding()} if self._image in wanted else None
        return self._builder.as_dataset(
            split=f"{split}[:{count}]",
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(wanted, decoders=encoded),
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, add_tfds_id=False),
        )

    def _read(self, data: Any, size: int = _BATCH) -> Iterator[dict[str, np.ndarray]]:
        import tensorflow as tf

        options = tf.data.Options()
        options.autotune.enabled = False  # see `Batches.feed`
        try:
            yield from data.batch(size).prefetch(2).with_options(options).as_numpy_iterator()
        except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.OutOfRangeError) as error:
            raise ValueError(
                f"A file of {self.name} in {self._builder.data_path} is missing or damaged; copy the set anew, or "
                "remove its folder and have TFDS prepare it again."
            ) from error
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"An image of {self.name} in {self._builder.data_path} cannot be decoded; remove the folder and have "
                "TFDS prepare the set again."
            ) from error

    # ---------------------------------------------------------------- sizes

    def _common_size(self) -> tuple[int, int] | None:
        """The size that all images are given, where the set does not fix one, by its first training images."""
        if None not in self._features[self._image].shape[:2]:
            return None
        first = np.arange(min(_LOOKED_AT, self._count("train")))
        return sizes.common_size([batch["image"].shape[1:3] for batch in self._read(self._examples("train", first), 1)])

    def _fitted(self, data: Any) -> Any:
        """The examples with images of one size."""
        import tensorflow as tf

        if self._size is None:
            return data
        height, width = self._size
        size = tf.constant([height, width])

        def fit(example: dict[str, Any]) -> dict[str, Any]:
            image = example["image"]
            other = tf.reduce_any(tf.shape(image)[:2] != size)
            resized = tf.cond(other, lambda: _resize(image, size), lambda: image)
            return {**example, "image": tf.ensure_shape(resized, (height, width, None)), "resized": other}

        return data.map(fit, os.cpu_count())


_ROLES = ("train", "test")


def _resize(image: Any, size: Any) -> Any:
    import tensorflow as tf

    pixels = tf.image.resize(tf.cast(image, tf.float32), size, antialias=True)
    return tf.saturate_cast(tf.round(pixels), tf.uint8)


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
