"""Training on a frozen base: its features of every image are computed once, then only the head is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from bakeoff.lab.batches import ArrayExamples, Examples
from bakeoff.lab.files import write_npz
from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit
from bakeoff.lab.models import split_base

FEATURES = "features.npz"  # in the stage's folder until the head is trained: a second try need not repeat it


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Compute the features, adapt the head's Normalization layers to them, and train the head.

    With `mirror`, each training image counts twice: as it is and as its mirror image. `feature_batch_size` (100)
    images go through the base at once. The weights of `model` are those of the trained head afterwards.

    Raises ValueError when augmentation is asked for (the features are computed once), or without a layer `base`.
    """
    if job.recipe.augmentation:
        raise ValueError("trainer features sees every image once: use its option mirror, or leave augmentation empty")
    base, head = split_base(model)
    begun = time.perf_counter()
    arrays = _features(base, job)
    seconds = time.perf_counter() - begun
    labels = np.tile(job.train.labels, 2 if job.option("mirror", False) else 1)
    job = replace(
        job,
        train=ArrayExamples(arrays["train"], labels),
        validation=ArrayExamples(arrays["validation"], job.validation.labels) if job.validation is not None else None,
    )
    for layer in head.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt(arrays["train"])
    compile_model(head, job.recipe, job.num_outputs)
    fit(head, job, history)
    (job.folder / FEATURES).unlink()
    return {"feature_seconds": seconds, "features": int(np.prod(arrays["train"].shape[1:]))}


def passes(epochs: int, options: Mapping[str, Any]) -> tuple[float, float]:
    """Forward passes for each training and each validation image; those of the head alone hardly count."""
    return 2.0 if options.get("mirror", False) else 1.0, 1.0


def trained_part(model: keras.Model) -> keras.Model:
    """The part of a network that training changes: all that is worth saving."""
    return split_base(model)[1]


def _features(base: keras.Model, job: Job) -> dict[str, np.ndarray]:
    """Features (n, ...) float32 of the training images (then of their mirror images) and the validation images."""
    path = job.folder / FEATURES
    if not path.is_file():
        batch_size = int(job.option("feature_batch_size", 100))
        train = [_pass(base, job.train, batch_size, False)]
        if job.option("mirror", False):
            train.append(_pass(base, job.train, batch_size, True))
        empty = train[0][:0]
        validation = _pass(base, job.validation, batch_size, False) if job.validation is not None else empty
        write_npz(path, train=np.concatenate(train), validation=validation)
    with np.load(path) as arrays:
        return {name: arrays[name] for name in ("train", "validation")}


def _pass(base: keras.Model, examples: Examples, batch_size: int, mirrored: bool) -> np.ndarray:
    """The base's features of all examples, `batch_size` at a time."""
    parts = []
    for start in range(0, len(examples), batch_size):
        images = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
        parts.append(base.predict_on_batch(images[:, :, ::-1] if mirrored else images))
    return np.concatenate(parts).astype(np.float32)


TRAINER = Trainer(run, options=("mirror", "feature_batch_size"), passes=passes, trained_part=trained_part)
