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
from typing import Any

import keras
import numpy as np

from bakeoff.lab.batches import ArrayExamples, Examples
from bakeoff.lab.files import read_npz_if_whole, write_npz
from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit
from bakeoff.lab.models import split_base

IMAGES_AT_ONCE = 100  # through the base


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Compute the features, adapt the head's Normalization layers to them, and train the head.

    With `mirror`, each training image counts twice: as it is and as its mirror image. `feature_batch_size` (100)
    images go through the base at once. Features that the folder `job.shared` holds are taken from there. The
    weights of `model` are those of the trained head afterwards.

    Raises ValueError when augmentation is asked for (the features are computed once), or without a layer `base`.
    """
    if job.recipe.augmentation:
        raise ValueError("trainer features sees every image once: use its option mirror, or leave augmentation empty")
    base, head = split_base(model)
    begun = time.perf_counter()
    train, validation = _features(base, job)
    seconds = time.perf_counter() - begun
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


def _features(base: keras.Model, job: Job) -> tuple[np.ndarray, ArrayExamples | None]:
    """Features (n, ...) float32 of the training images (then of their mirror images), and those to validate on."""
    batch_size = int(job.option("feature_batch_size", IMAGES_AT_ONCE))
    sides = [False, True] if job.option("mirror", False) else [False]
    train = [_kept(base, job.train, batch_size, side, job.shared) for side in sides]
    if job.validation is None:
        return np.concatenate(train), None
    validation = _kept(base, job.validation, batch_size, False, job.shared)
    return np.concatenate(train), ArrayExamples(validation, job.validation.labels)


def _kept(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool, shared: Path | None) -> np.ndarray:
    """The base's features of all examples: those in the folder `shared` where they are whole, else computed."""
    if shared is None:
        return _pass(base, examples, batch_size, mirrored)
    path = shared / f"features-{_digest(base, examples, batch_size, mirrored)}.npz"
    features = read_npz_if_whole(path).get("features")
    if features is None:
        features = _pass(base, examples, batch_size, mirrored)
        write_npz(path, features=features)
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


def _pass(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool) -> np.ndarray:
    """The base's features of all examples, `batch_size` at a time."""
    parts = []
    for start in range(0, len(examples), batch_size):
        images = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
        parts.append(base.predict_on_batch(images[:, :, ::-1] if mirrored else images))
    return np.concatenate(parts).astype(np.float32)


TRAINER = Trainer(run, options=("mirror", "feature_batch_size"), passes=passes, trained_part=trained_part)
