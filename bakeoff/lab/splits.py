"""Which images are held out, and whether two parts share any."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np

from bakeoff.lab.streams import generator

HELD_OUT = 5  # where there is no test split, one in so many training images is tested on
_BLOCK = 1000  # images read together


def kept_images(images: int, share: float) -> int:
    """How many of `images` are trained on when `share` of them is held out, counted as Keras' validation_split counts.

    Raises ValueError where either part would be empty.
    """
    kept = int(images * (1 - share))
    if not 0 < kept < images:
        raise ValueError(
            f"A validation split of {share:g} leaves {kept} of {images} images to train on; change validation_split "
            "or raise max_train_examples."
        )
    return kept


def stratified(labels: np.ndarray, kept: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `kept` examples and of the others, each class in the same proportion: two ascending int64 arrays.

    labels: (n,) int64. At least one example of a class is kept, as far as `kept` reaches: no class is held out that
    is not trained on. scikit-learn's stratified split refuses classes of one image, and fewer held-out images than
    classes, which limited runs have.
    """
    order = generator(seed, "stratified split").permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # in its class, in random order
    quantile = np.empty(len(labels))
    quantile[by_class] = np.where(place > 0, (place + 0.5) / np.repeat(sizes, sizes), 0.0)
    chosen = order[np.argsort(quantile[order], kind="stable")]  # of equal quantiles, any class comes first
    return np.sort(chosen[:kept]), np.sort(chosen[kept:])


def held_out_fifth(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images to train on and of a stratified fifth to test on, where there is no test split."""
    return stratified(labels, len(labels) - max(1, round(len(labels) / HELD_OUT)), seed)


def count_duplicates(parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, int]:
    """For each two parts "one/other": how many images of `other` are in `one` too, pixel by pixel; "one/one": twice.

    parts: name -> (images (all, h, w, c), positions of the part's own); empty parts are left out. Images that differ
    in any pixel count as different, so an image that was scaled, cropped or compressed once more is not found.
    """
    parts = {name: part for name, part in parts.items() if len(part[1])}
    digests = {name: _digests(images, indices) for name, (images, indices) in parts.items()}
    distinct = {name: set(each) for name, each in digests.items()}
    within = {f"{name}/{name}": len(each) - len(distinct[name]) for name, each in digests.items()}
    pairs = itertools.combinations(parts, 2)
    return within | {f"{one}/{two}": sum(each in distinct[one] for each in digests[two]) for one, two in pairs}


def _digests(images: np.ndarray, indices: np.ndarray) -> list[bytes]:
    """A digest of each image's pixels."""
    found: list[bytes] = []
    for start in range(0, len(indices), _BLOCK):
        block = np.ascontiguousarray(images[indices[start : start + _BLOCK]])
        found += [hashlib.blake2b(image.data, digest_size=16).digest() for image in block]
    return found
