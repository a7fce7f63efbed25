"""Features of a frozen base, computed once, and kept for every training that needs the same ones.

Another seed, or another head, finds them in the folder `inputs["shared"]`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from bakeoff.lab.files import read_npz_if_whole, write_npz
from bakeoff.lab.input_pipeline import Examples

IMAGES_AT_ONCE = 100  # through the base


class Features(NamedTuple):
    """What the base gives for every example, (n, ...) float32, and the seconds that it took to compute.

    `files` are those of the folder `shared` that hold it: name -> SHA-256.
    """

    values: np.ndarray
    seconds: float
    files: Mapping[str, str]


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
    files = {name: digest for part in parts for name, digest in part.files.items()}
    return Features(np.concatenate([part.values for part in parts]), sum(part.seconds for part in parts), files)


def _kept(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool, shared: Path | None) -> Features:
    """The features of one side: those in `shared` where they are whole, else computed."""
    if shared is None:
        return _computed(base, examples, batch_size, mirrored)
    path = shared / f"features-{_digest(base, examples, batch_size, mirrored)}.npz"
    kept = read_npz_if_whole(path)
    if not {"features", "seconds"} <= set(kept):
        features = _computed(base, examples, batch_size, mirrored)
        kept = {"features": features.values, "seconds": np.array(features.seconds)}
        write_npz(path, **kept)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Features(kept["features"], float(kept["seconds"]), {path.name: digest})


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
    base.jit_compile = keras.backend.backend() == "jax"  # which else runs one operation after the other
    parts, begun = [], time.perf_counter()
    for start in range(0, len(examples), batch_size):
        images = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
        # PyTorch takes no array that is read backwards.
        parts.append(base.predict_on_batch(np.ascontiguousarray(images[:, :, ::-1]) if mirrored else images))
    return Features(np.concatenate(parts).astype(np.float32), time.perf_counter() - begun, {})
