"""Features of a frozen base, computed once, and kept for every training that needs the same ones.

Another seed, or another head, finds them in the folder `inputs["shared"]`.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from bakeoff.lab.files import read_npz_if_whole, write_npz
from bakeoff.lab.input_pipeline import Examples

IMAGES_AT_ONCE = 100  # through the base


class Features(NamedTuple):
    """What the base gives for every example, (n, ...) float32, and the seconds that it took to compute."""

    values: np.ndarray
    seconds: float


def extract_features(
    base: keras.Model,
    examples: Examples,
    *,
    mirror: bool = False,
    batch_size: int = IMAGES_AT_ONCE,
    shared: str | Path | None = None,
) -> Features:
    """The base's features of all examples; with `mirror`, those of their mirror images after them.

    Features that the folder `shared` holds are taken from there, with the seconds that they took then. `batch_size`
    images go through the base at once.
    """
    sides = [False, True] if mirror else [False]
    parts = [_kept(base, examples, batch_size, side, Path(shared) if shared else None) for side in sides]
    return Features(np.concatenate([part.values for part in parts]), sum(part.seconds for part in parts))


def _kept(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool, shared: Path | None) -> Features:
    """The features of one side: those in `shared` where they are whole, else computed."""
    if shared is None:
        return _computed(base, examples, batch_size, mirrored)
    path = shared / f"features-{_digest(base, examples, batch_size, mirrored)}.npz"
    kept = read_npz_if_whole(path)
    if {"features", "seconds"} <= set(kept):
        return Features(kept["features"], float(kept["seconds"]))
    features = _computed(base, examples, batch_size, mirrored)
    write_npz(path, features=features.values, seconds=np.array(features.seconds))
    return features


def _digest(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool) -> str:
    """Of all that decides features: the base with its weights and precision, every pixel that it sees, and how."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([base.to_json(), batch_size, mirrored]).encode())
    for weight in base.get_weights():
        digest.update(weight.tobytes())
    for start in range(0, len(examples), batch_size):
        digest.update(examples.batch(np.arange(start, min(start + batch_size, len(examples)))).tobytes())
    return digest.hexdigest()


def _computed(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool) -> Features:
    parts, begun = [], time.perf_counter()
    for start in range(0, len(examples), batch_size):
        images = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
        parts.append(base.predict_on_batch(images[:, :, ::-1] if mirrored else images))
    return Features(np.concatenate(parts).astype(np.float32), time.perf_counter() - begun)
