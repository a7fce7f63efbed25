"""Image files on disk: folders of classes with uneven images of several sizes and formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = (".jpg", ".PNG", ".webp", ".bmp", ".gif", ".jpeg")


def write_image(path: Path, bright: int, size: tuple[int, int] = (20, 24), mode: str = "RGB") -> Path:
    """An image of nearly one brightness; size: (height, width)."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(bright).integers(0, 9, (*size, len(Image.new(mode, (1, 1)).getbands())))
    pixels = (noise + bright).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, mode=None).save(path)
    return path


def write_folder(
    folder: Path,
    names: Sequence[str] = ("2", "10", "Ämter & Co"),
    each: int = 10,
    formats: Sequence[str] = (".jpg", ".PNG"),
    sizes: Sequence[tuple[int, int]] = ((20, 24), (20, 24), (31, 17)),
    mode: str = "RGB",
) -> Path:
    """A subfolder for each of `names` with images whose brightness says the class."""
    for number, name in enumerate(names):
        for k in range(each):
            suffix, size = formats[k % len(formats)], sizes[k % len(sizes)]
            write_image(folder / name / f"image {k}{suffix}", 70 * number + k, size, mode)
    return folder


def sixteen_bits(path: Path, value: int) -> None:
    """A gray PNG of 16 bits of one value."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24), value, np.uint16)).save(path)


def bright(images: Any) -> np.ndarray:
    """The mean of each image."""
    means: np.ndarray = np.asarray(images).reshape(len(images), -1).mean(axis=1)
    return means
