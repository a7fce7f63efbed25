"""Random changes of training images: turned, shifted, sheared, zoomed, mirrored, cropped, cut out. Fast numpy.

Rotation, shift, shear, zoom and mirroring are drawn, put together in one affine map and sampled as Keras'
ImageDataGenerator did it (no longer in Keras 3): source (x, y) = rotation . shift . shear . zoom . target (x, y),
measured from the image's middle; bilinear between pixels, the nearest pixel beyond the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np

from bakeoff.lab.streams import coin

# What each option's number means, and the bound that it stays below.
OPTIONS: Mapping[str, tuple[str, float]] = {
    "rotation_degrees": ("degrees to either side", 360),
    "shift": ("share of the side, up or down and left or right", 1),
    "shear_degrees": ("degrees to either side (ImageDataGenerator's shear_range is in degrees)", 90),
    "zoom": ("each axis by a factor between 1 - zoom and 1 + zoom", 1),
    "horizontal_flip": ("true mirrors every second image or so", 2),
    "crop_padding": ("pixels reflected around the image before a crop of its size", 1024),
    "alternating_flip": ("true mirrors each image in every second epoch", 2),
    "cutout": ("pixels a side of a square that takes the image's mean colour", 1024),
}
_AFFINE = ("rotation_degrees", "shift", "shear_degrees", "zoom")
_BLOCK = 32  # images sampled at once: small enough for the processor's cache, and without effect on the result


def validate(options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that there is not, or a value out of its range."""
    for name, value in options.items():
        if name not in OPTIONS:
            close = get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(OPTIONS)}."
            raise ValueError(f"augmentation has no option {name!r}; {hint}")
        meaning, bound = OPTIONS[name]
        if not isinstance(value, int | float) or not 0 <= value < bound:
            raise ValueError(f"augmentation: {name} is {value!r}; it must be from 0 to below {bound:g} ({meaning}).")


def augment(
    images: np.ndarray,
    rng: np.random.Generator,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
    epoch: int = 0,
    ids: np.ndarray | None = None,
) -> np.ndarray:
    """Changed copies of `images`, each image by chances of its own.

    images: (n, height, width, channels) uint8 or float, pixels not yet scaled. Returns float32 of the same shape.
    `seed`, `epoch` and `ids` (whole numbers or text, one an image, the same in every epoch) decide alternating_flip
    alone; all else is drawn from `rng`.
    """
    validate(options)
    n, height, width, _ = images.shape
    images = np.asarray(images)
    mirrored = np.less(rng.random(n), 0.5) if options.get("horizontal_flip") else np.zeros(n, bool)
    if options.get("alternating_flip"):
        mirrored = mirrored ^ _mirrored_this_epoch(seed, ids, epoch)
    if any(options.get(name) for name in _AFFINE):
        changed = _warped(images, *_affine_maps(rng, n, height, width, options), mirrored)
    else:
        changed = _mirrored(images, mirrored)
    if options.get("crop_padding"):
        changed = _cropped(changed, int(options["crop_padding"]), rng)
    changed = changed.astype(np.float32, copy=False)
    if options.get("cutout"):
        _cut_out(changed, int(options["cutout"]), rng)
    return changed


# ---------------------------------------------------------------- maps


def _affine_maps(
    rng: np.random.Generator, n: int, height: int, width: int, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """For each image the matrix (2, 2) and the shift (2,) that take target (row, column) to source, in pixels."""

    def spread(name: str, axes: int) -> np.ndarray:
        return rng.uniform(-1, 1, (n, axes)) * options.get(name, 0)

    turn = np.deg2rad(spread("rotation_degrees", 1)[:, 0])
    shift = spread("shift", 2) * (width, height)
    shear = np.deg2rad(spread("shear_degrees", 1)[:, 0])
    zoom = 1 + spread("zoom", 2)
    rotation = _matrices(np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn))
    sheared = _matrices(np.ones(n), -np.sin(shear), np.zeros(n), np.cos(shear)) * zoom[:, None, :]
    # So far in (x, y); arrays are indexed by (row, column).
    return (rotation @ sheared)[:, ::-1, ::-1], (rotation @ shift[:, :, None])[:, ::-1, 0]


def _matrices(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.stack([a, b, c, d], axis=-1).reshape(-1, 2, 2)


# ---------------------------------------------------------------- pixels


def _warped(images: np.ndarray, matrices: np.ndarray, shifts: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Each image sampled through its map; mirroring comes last, which is to ask the map for the mirrored column."""
    matrices = matrices * np.stack([np.ones(len(images)), np.where(mirrored, -1.0, 1.0)], axis=-1)[:, None, :]
    changed = np.empty(images.shape, np.float32)
    for start in range(0, len(images), _BLOCK):
        part = slice(start, start + _BLOCK)
        _sample(images[part], matrices[part].astype(np.float32), shifts[part].astype(np.float32), changed[part])
    return changed


def _sample(images: np.ndarray, matrices: np.ndarray, shifts: np.ndarray, out: np.ndarray) -> None:
    """Bilinear samples of `images` into `out`."""
    n, height, width, channels = images.shape
    down = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    across = np.arange(width, dtype=np.float32)[None, :] - np.float32((width - 1) / 2)
    place, share = [], []
    for axis, side in ((0, height), (1, width)):
        source = matrices[:, axis, 0, None, None] * down + matrices[:, axis, 1, None, None] * across
        source += shifts[:, axis, None, None] + np.float32((side - 1) / 2)
        np.clip(source, 0, side - 1, out=source)
        whole = np.minimum(source.astype(np.int32), max(side - 2, 0))
        place.append(whole)
        share.append((source - whole)[..., None])
    corner = place[0] * width + place[1] + (np.arange(n, dtype=np.int32) * (height * width))[:, None, None]
    pixels = images.reshape(-1, channels).astype(np.float32)
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    upper, lower = pixels.take(corner, 0), pixels.take(corner + below, 0)
    upper += share[1] * (pixels.take(corner + beside, 0) - upper)
    lower += share[1] * (pixels.take(corner + below + beside, 0) - lower)
    lower -= upper
    lower *= share[0]
    np.add(upper, lower, out=out)


def _mirrored(images: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    changed = images.copy()  # in its own type: bytes that only move are moved at a quarter of the cost
    changed[mirrored] = changed[mirrored, :, ::-1]
    return changed


def _mirrored_this_epoch(seed: int, ids: np.ndarray | None, epoch: int) -> np.ndarray:
    """A coin for each image, thrown once by seed and id, and turned over with every epoch."""
    if ids is None:
        raise ValueError("alternating_flip must know which image is which; hand augment the images' ids.")
    coins = [_coin(seed, one) for one in np.asarray(ids).tolist()]
    return np.array(coins, bool) ^ bool(epoch % 2)


@lru_cache(2**17)
def _coin(seed: int, name: str | int) -> bool:
    """An image's coin, thrown once for all epochs."""
    return coin(seed, "alternating flip", name)


def _cropped(images: np.ndarray, padding: int, rng: np.random.Generator) -> np.ndarray:
    """Each image shifted by whole pixels up to `padding`, reflected at its edges."""
    n, height, width, _ = images.shape
    if padding >= min(height, width):
        raise ValueError(f"crop_padding is {padding}, but the images are {height} x {width}; make it smaller.")
    starts = rng.integers(0, 2 * padding + 1, (n, 2))
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="reflect")
    cropped = np.empty_like(images)
    for number, (top, left) in enumerate(starts.tolist()):  # rows in one piece; an index would take each pixel
        cropped[number] = padded[number, top : top + height, left : left + width]
    return cropped


def _cut_out(images: np.ndarray, side: int, rng: np.random.Generator) -> None:
    """A square of each image, whole and anywhere in it, takes the image's mean (T. DeVries, "Cutout", 2017)."""
    n, height, width, _ = images.shape
    if side > min(height, width):
        raise ValueError(f"cutout is {side}, but the images are {height} x {width}; make it smaller.")
    top, left = rng.integers(0, height - side + 1, n), rng.integers(0, width - side + 1, n)
    rows, columns = top[:, None] + np.arange(side), left[:, None] + np.arange(side)
    means = images.mean(axis=(1, 2), keepdims=True)
    images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]] = means
