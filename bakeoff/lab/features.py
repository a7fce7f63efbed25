"""Training on a frozen base: its features of every image are computed once, then only the head is trained.

The features are kept for every training that needs the same ones: of another seed, or another head.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from bakeoff.lab.batches import ArrayExamples, Examples
from bakeoff.lab.files import read_npz_if_whole, write_npz
from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit
from bakeoff.lab.models import split_base

IMAGES_AT_ONCE = 100  # through the base


class Features(NamedTuple):
    """What the base gives for every example, (n, ...) float32, and the seconds that it took to compute."""

    values: np.ndarray
    seconds: float


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Compute the features, adapt the head's Normalization layers to them, and train the head.

    With `mirror`, each training image counts twice: as it is and as its mirror image. `feature_batch_size` (100)
    images go through the base at once. Features that the folder `job.shared` holds are taken from there; the seconds
    that they took then count for this training, too, as if it had been the first. The weights of `model` are those of
    the trained head afterwards.

    Raises ValueError when augmentation is asked for (the features are computed once), or without a layer `base`.
    """
    if job.recipe.augmentation:
        raise ValueError("trainer features sees every image once: use its option mirror, or leave augmentation empty")
    base, head = split_base(model)
    begun = time.perf_counter()
    train, validation, seconds = _features(base, job)
    history.seconds_elsewhere = max(0.0, seconds - (time.perf_counter() - begun))
    labels = np.tile(job.train.labels, 2 if job.option("mirror", False) else 1)
    job = replace(
        job,
        train=ArrayExamples(train, labels),
        validation=validation,
    )
    for layer in head.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt(train)
    compile_model(head, job.recipe, job.num_outputs)
    fit(head, job, history)
    return {"feature_seconds": seconds, "features": int(np.prod(train.shape[1:]))}


def passes(epochs: int, options: Mapping[str, Any]) -> tuple[float, float]:
    """Forward passes for each training and each validation image; those of the head alone hardly count."""
    return 2.0 if options.get("mirror", False) else 1.0, 1.0


def trained_part(model: keras.Model) -> keras.Model:
    """The part of a network that training changes: all that is worth saving."""
    return split_base(model)[1]


def _features(base: keras.Model, job: Job) -> tuple[np.ndarray, ArrayExamples | None, float]:
    """Features (n, ...) float32 of the training images (then of their mirror images), those to validate on, seconds."""
    batch_size = int(job.option("feature_batch_size", IMAGES_AT_ONCE))
    sides = [False, True] if job.option("mirror", False) else [False]
    train = [_kept(base, job.train, batch_size, side, job.shared) for side in sides]
    values, seconds = np.concatenate([each.values for each in train]), sum(each.seconds for each in train)
    if job.validation is None:
        return values, None, seconds
    validation = _kept(base, job.validation, batch_size, False, job.shared)
    return values, ArrayExamples(validation.values, job.validation.labels), seconds + validation.seconds


def _kept(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool, shared: Path | None) -> Features:
    """The base's features of all examples: those in the folder `shared` where they are whole, else computed."""
    if shared is None:
        return _pass(base, examples, batch_size, mirrored)
    path = shared / f"features-{_digest(base, examples, batch_size, mirrored)}.npz"
    kept = read_npz_if_whole(path)
    if {"features", "seconds"} <= set(kept):
        return Features(kept["features"], float(kept["seconds"]))
    features = _pass(base, examples, batch_size, mirrored)
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


def _pass(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool) -> Features:
    """The base's features of all examples, `batch_size` at a time."""
    parts, begun = [], time.perf_counter()
    for start in range(0, len(examples), batch_size):
        images = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
        parts.append(base.predict_on_batch(images[:, :, ::-1] if mirrored else images))
    return Features(np.concatenate(parts).astype(np.float32), time.perf_counter() - begun)


TRAINER = Trainer(run, options=("mirror", "feature_batch_size"), passes=passes, trained_part=trained_part)
