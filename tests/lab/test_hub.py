"""Data sets of the Hugging Face hub become image files with a table (needs the extra hf)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.lab import data
from bakeoff.lab.hub import write_image_files

datasets = pytest.importorskip("datasets")


def made(labels: Any, kind: Any, images: int = 6) -> Any:
    from PIL import Image

    stored = [Image.fromarray(np.full((8, 9, 3), 20 * k, np.uint8)) for k in range(images)]
    features = datasets.Features({"img": datasets.Image(), "label": kind, "more": datasets.Value("string")})
    rows = {"img": stored, "label": labels, "more": ["x"] * images}
    return datasets.Dataset.from_dict(rows, features)


def test_images_labels_and_splits_are_kept(tmp_path: Path) -> None:
    kind = datasets.ClassLabel(names=["T-shirt / top", "bag"])
    splits = datasets.DatasetDict({"train": made([0, 1] * 3, kind), "test": made([0, 1], kind, 2)})
    write_image_files(splits, tmp_path / "hf" / "some" / "set" / "labels.csv")
    table = tmp_path / "hf" / "some" / "set" / "labels.csv"
    limits = {"max_train_examples": None, "max_test_examples": None, "seed": 0}
    loaded = data.load("hf:some/set", tmp_path / "load", images=table, **limits)
    assert (loaded.name, loaded.class_names) == ("hf:some/set", ("T-shirt / top", "bag"))
    assert (loaded.available, loaded.test_split) == ({"train": 6, "test": 2}, "test")
    assert np.array_equal(loaded.train.images[:, 0, 0, 0] // 20 % 2, loaded.train.labels)


def test_several_labels_an_image_are_refused(tmp_path: Path) -> None:
    several = made([[0]] * 6, datasets.Sequence(datasets.Value("int64")))
    with pytest.raises(ValueError, match=r"features \(img, label, more\) is not one label"):
        write_image_files(datasets.DatasetDict({"train": several}), tmp_path / "set" / "labels.csv")
    assert not list(tmp_path.iterdir())
