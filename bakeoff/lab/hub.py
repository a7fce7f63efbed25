"""Image data sets of the Hugging Face hub, written once as image files with a table (see `image_listing`)."""

from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path
from typing import Any

from bakeoff.lab.image_listing import hub_table

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif", "WEBP": ".webp"}
_SPLITS = ("train", "test", "validation")


def fetch_hub(name: str, data_dir: str | Path) -> Path:
    """Download "OWNER/NAME" and write its images and labels below `data_dir`; its folder."""
    table = hub_table(name, Path(data_dir))
    if table.is_file():
        return table.parent
    try:
        import datasets
    except ImportError:
        raise ValueError("the package datasets is not installed; run `.venv/bin/uv pip install datasets`") from None
    write_image_files(datasets.load_dataset(name), table)
    return table.parent


def write_image_files(splits: Any, table: Path) -> None:
    """Write the images of a `datasets.DatasetDict` beside a table of their labels; it is there when all of them are.

    Raises ValueError where it has not one image and one label.
    """
    features = next(iter(splits.values())).features
    image, label = _feature(features, ("Image",), "image"), _feature(features, ("ClassLabel", "Value"), "label")
    folder = table.parent
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        rows = [["image", "label", "split"]]
        for split in (name for name in _SPLITS if name in splits):
            rows += _written(splits[split], image, label, partial, split)
        partial.mkdir(parents=True, exist_ok=True)
        with (partial / table.name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _feature(features: Any, kinds: tuple[str, ...], usual: str) -> str:
    """The feature of a kind, of the first that there is one of: that of the usual name, else the only one."""
    for kind in kinds:
        found = [name for name, feature in features.items() if type(feature).__name__ == kind]
        if usual in found or (len(found) == 1 and kind != "Value"):
            return usual if usual in found else str(found[0])
    raise ValueError(
        f"among its features ({', '.join(features)}) is not one {usual}; choose an image classification set"
    )


def _written(rows: Any, image: str, label: str, folder: Path, split: str) -> list[list[str]]:
    """The lines of the table for a split whose images were written."""
    kind, encoded = rows.features[label], rows.cast_column(image, type(rows.features[image])(decode=False))
    (folder / split).mkdir(parents=True)
    lines = []
    for number, row in enumerate(encoded.select_columns([image, label])):
        stored = row[image]
        content = stored["bytes"] or Path(stored["path"]).read_bytes()
        name = f"{split}/{number:06d}{_suffix(content)}"
        (folder / name).write_bytes(content)
        value = row[label]
        named = kind.int2str(value) if hasattr(kind, "int2str") and value is not None and value >= 0 else value
        lines.append([name, "" if named is None else str(named), split])
    return lines


def _suffix(content: bytes) -> str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return _SUFFIXES.get(image.format or "", ".png")
    except OSError:
        return ".png"  # it is refused, or left out, when it is read
