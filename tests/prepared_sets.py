"""Small data sets on disk: as TFDS prepares them, or their metadata alone."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

IMAGE: dict[str, Any] = {"image": {"dtype": "uint8", "shape": {"dimensions": ["8", "8", "3"]}}}
LABEL: dict[str, Any] = {"classLabel": {"numClasses": "10"}}


def describe(folder: Path, splits: Mapping[str, int] | None = None, **features: Any) -> Path:
    """Metadata and an empty file for each split (name -> images), as far as a plan looks at them."""
    folder.mkdir(parents=True)
    lengths = {"train": 1, "test": 1} if splits is None else splits
    described = [{"name": name, "shardLengths": [str(images)] * bool(images)} for name, images in lengths.items()]
    (folder / "dataset_info.json").write_text(json.dumps({"name": "made", "splits": described}))
    kinds = features or {"image": IMAGE, "label": LABEL}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": kinds}}))
    for name in lengths:
        (folder / f"made-{name}.tfrecord-00000-of-00001").touch()
    return folder


def image_rows(labels: Sequence[int], side: int = 8, channels: int = 3) -> list[dict[str, Any]]:
    """Examples whose brightness says the class."""
    random = np.random.default_rng(0)
    shape = (len(labels), side, side, channels)
    pixels = np.clip(40 * np.maximum(labels, 0)[:, None, None, None] + random.normal(30, 10, shape), 0, 255)
    return [{"image": each, "label": int(label)} for each, label in zip(pixels.astype(np.uint8), labels, strict=True)]


def prepare(
    data_dir: Path,
    name: str,
    splits: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    shape: tuple[int | None, int | None, int] = (8, 8, 3),
    dtype: Any = np.uint8,
    label: Any = None,
    names: Mapping[str, str] | None = None,
    ordered: bool = False,
) -> Path:
    """A set of these examples, built by TFDS; `names`: other names for the features image and label."""
    import tensorflow_datasets as tfds

    rename = {"image": "image", "label": "label", **(names or {})}
    kinds = tfds.features
    features = {"image": kinds.Image(shape=shape, dtype=dtype), "label": label or kinds.ClassLabel(num_classes=3)}

    class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = data_dir

        def _info(self) -> Any:
            renamed = kinds.FeaturesDict({rename[key]: kind for key, kind in features.items()})
            return tfds.core.DatasetInfo(builder=self, features=renamed, disable_shuffling=ordered)

        def _split_generators(self, _: Any) -> Any:
            return {split: self._generate_examples(rows) for split, rows in splits.items()}

        def _generate_examples(self, rows: Sequence[Mapping[str, Any]]) -> Any:
            for number, row in enumerate(rows):
                yield number, {rename[key]: value for key, value in row.items()}

    named = types.new_class("".join(map(str.capitalize, name.split("_"))), (Made,), {"skip_registration": True})
    named(data_dir=str(data_dir)).download_and_prepare()
    return data_dir / name / "1.0.0"
