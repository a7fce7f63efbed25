"""What a training leaves behind: the network, history.csv, a summary, and a few predictions to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd

from bakeoff.lab.files import read_json, replacing, write_csv, write_json, write_npz
from bakeoff.lab.models import rebuild, split_base
from bakeoff.lab.training.checkpoint import MODEL, SUMMARY, Checkpoint
from bakeoff.lab.training.history import FILE, History

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared, View

SAMPLE = "sample_predictions.npz"
SAMPLE_IMAGES = 16  # training images whose probabilities are kept, so that the stored file can be compared
_METRICS = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")


@dataclass(frozen=True)
class Training:
    """A finished training: a row for each epoch, and what training.json says."""

    history: pd.DataFrame
    summary: dict[str, Any]


def save_training(
    checkpoint: Checkpoint,
    model: keras.Model,
    history: History,
    data: Prepared,
    *,
    train: View,
    validation: View | None,
    part: keras.Model | None = None,
    **facts: Any,
) -> Training:
    """Write model.keras, history.csv, sample_predictions.npz and training.json; a finished training stays as it is.

    `train` and `validation` are the images that were used, of those in `data`. `part` is what was trained, where that
    is not the whole `model`: only it is saved. `facts` go into training.json: optimizer, learning_rate and the like.
    """
    output = checkpoint.output
    if not checkpoint.finished:
        saved = part or model
        bare = keras.Model(saved.inputs[0], saved.outputs[0], name=saved.name)  # the same layers, without an optimizer
        with replacing(output / MODEL) as temporary:
            bare.save(temporary)
        write_csv(output / FILE, history.frame)
        write_npz(output / SAMPLE, probabilities=sample_predictions(model, data))
        summary = _summary(model, history, data, train, validation, facts["batch_size"])
        write_json(output / SUMMARY, facts | summary | {"partly_saved": part is not None})
    return open_training(output)


def sample_predictions(model: keras.Model, data: Prepared) -> np.ndarray:
    """Probabilities (at most SAMPLE_IMAGES, outputs) of the first training images, computed without a graph."""
    images = data.train.batch(np.arange(min(SAMPLE_IMAGES, len(data.train))))
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def open_training(folder: str | Path) -> Training:
    """Read what `save_training` wrote."""
    return Training(pd.read_csv(Path(folder) / FILE), read_json(Path(folder) / SUMMARY))


def load_trained(inputs: Mapping[str, str]) -> keras.Model:
    """The trained network: images (n, *input_shape) float32 -> probabilities (n, outputs).

    Without a training it is the network as built; where only a head was trained, the base is built again.
    """
    if "train" not in inputs:
        return rebuild(inputs["build"])
    folder = Path(inputs["train"])
    summary = read_json(folder / SUMMARY)
    keras.config.set_dtype_policy(summary["precision"])
    if not summary["partly_saved"]:
        return keras.models.load_model(folder / MODEL, compile=False)
    model = rebuild(inputs["build"])
    split_base(model)[1].load_weights(folder / MODEL)
    return model


def diverged_epoch(inputs: Mapping[str, str], probabilities: np.ndarray) -> int | None:
    """The epoch in which the training diverged; its last, where only the predictions (n, k) show it; else None."""
    summary = read_json(Path(inputs["train"]) / SUMMARY) if "train" in inputs else {}
    if summary.get("diverged_epoch") is not None:
        return int(summary["diverged_epoch"])
    return int(summary["epochs"]) if summary and not np.isfinite(probabilities).all() else None


def best_epoch(history: pd.DataFrame) -> int:
    """The first epoch with the highest validation accuracy (training accuracy without validation); 0: none."""
    for name in ("validation_accuracy", "train_accuracy"):
        column = pd.to_numeric(history[name])
        if column.notna().any():
            return int(history["epoch"].iloc[int(column.argmax())])
    return 0


def _summary(
    model: keras.Model, history: History, data: Prepared, train: View, validation: View | None, batch_size: int
) -> dict[str, Any]:
    """On how much it was trained, and how the last epoch ended, unless it diverged."""
    frame, diverged = history.frame, _diverged(model, history)
    last = frame.iloc[-1].to_dict() if len(frame) and not diverged else {}
    images = min(history.steps * batch_size, len(train) * len(frame))
    return {
        "epochs": len(frame),
        "diverged_epoch": diverged,
        "optimizer_steps": history.steps,
        "train_images": len(train) if len(frame) else 0,
        "validation_images": len(validation) if validation is not None and len(frame) else 0,
        "train_images_available": len(data.train),
        "validation_images_available": 0 if data.validation is None else len(data.validation),
        "validation_source": data.validation_source,
        "unseen_classes": data.unseen_classes(train.labels) if len(frame) else {},
        **{name: last.get(name) for name in _METRICS},
        "best_epoch": best_epoch(frame),
        "train_seconds": history.seconds,
        "images_per_second": images / history.training_seconds if history.training_seconds else 0.0,
    }


def _diverged(model: keras.Model, history: History) -> int | None:
    """The epoch that left the network with numbers that are not finite; None where all is well."""
    if history.diverged_epoch or not history.rows:
        return history.diverged_epoch
    numbers = [each for each in model.get_weights() if np.issubdtype(each.dtype, np.floating)]
    return None if all(np.isfinite(each).all() for each in numbers) else int(history.rows[-1]["epoch"])
