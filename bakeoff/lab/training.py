"""Training a network by one of several trainers, and opening what was trained."""

from __future__ import annotations

import importlib
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd

from bakeoff.lab import resume
from bakeoff.lab.files import claim, read_json, replacing, write_csv, write_json, write_npz
from bakeoff.lab.fitting import HistoryFile, Job, Recipe, Trainer, cut_to_budget
from bakeoff.lab.models import check_name, rebuild
from bakeoff.lab.models.flops import forward_gflop

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared

# trainer -> module of this package, imported only when it is used
TRAINERS: dict[str, str] = {
    "fit": "plain",
    "features": "features",
    "staged": "staged",
    "speedrun": "speedrun",
    "none": "untrained",
}
PARTLY_SAVED = ("features", "none")  # the rest of the network is built again
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
MODEL, SUMMARY, HISTORY, ANSWERS = "model.keras", "training.json", "history.csv", "answers.npz"
_trained: weakref.WeakSet[keras.Model] = weakref.WeakSet()  # by this process
ANSWERED = 16  # training images whose likelihoods are kept, so that the stored file can be compared with the network


@dataclass(frozen=True)
class Training:
    """A finished training: a row for each epoch, and what training.json says."""

    history: pd.DataFrame
    summary: dict[str, Any]


def use_precision(precision: str) -> None:
    """Set the precision of all networks that are built from now on: call it before building or rebuilding.

    Raises ValueError for an unknown name.
    """
    check_name("precision", precision, PRECISIONS)
    keras.config.set_dtype_policy(precision)


def train(
    model: keras.Model,
    prepared: Prepared,
    folder: str | Path,
    *,
    trainer: str,
    trainer_options: Mapping[str, Any],
    loss: str,
    label_smoothing: float,
    optimizer: str,
    learning_rate: float,
    optimizer_options: Mapping[str, Any],
    batch_size: int,
    epochs: int,
    augmentation: Mapping[str, Any],
    seed: int,
    precision: str,
    jit_compile: bool,
    steps_per_execution: int,
    max_training_tflop: float | None,
    inputs: Mapping[str, str] | None,
) -> Training:
    """Train `model` on the prepared training images; write history.csv, model.keras and training.json to `folder`.

    Until it is over, the folder `inputs["checkpoint"]` (else `folder`) holds what it goes on from when it is cut short.
    What a search found (`inputs["search"]`) overrides optimizer and learning rate, and has used half of the budget.
    A training that `folder` holds already is opened, not repeated, if it was made with the same arguments. The same
    seed gives the same bits.

    Raises ValueError for unknown names, when the network was not built in `precision`, and when it is trained already.
    """
    given = {name: value for name, value in locals().items() if name not in ("model", "prepared", "folder", "inputs")}
    given |= {"network": model.name, "parameters": model.count_params(), "images": len(prepared.train)}
    folder = Path(folder)
    claim(folder, given, (SUMMARY, HISTORY, MODEL, ANSWERS, resume.STATE))
    if (folder / SUMMARY).is_file():
        return open_training(folder)
    if model in _trained:
        raise ValueError("this network has been trained already: build it again, by the cell before this one")
    _trained.add(model)
    _check_precision(model, precision)
    recipe = Recipe(
        loss=loss,
        label_smoothing=label_smoothing,
        optimizer=optimizer,
        learning_rate=learning_rate,
        optimizer_options=optimizer_options,
        batch_size=batch_size,
        epochs=0 if trainer == "none" else epochs,
        augmentation=augmentation,
        seed=seed,
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    recipe, budget = _after_search(recipe, max_training_tflop, inputs)
    found = find_trainer(trainer)
    for name in trainer_options:
        check_name(f"option of trainer {trainer}", name, found.options)
    passes = found.passes(recipe.epochs, trainer_options)
    gflop = forward_gflop(model) if budget is not None and any(passes) else 0.0
    views = cut_to_budget(
        prepared.train, prepared.validation, budget, forward_gflop=gflop, passes=passes, batch_size=batch_size
    )
    shared = Path(inputs["shared"]) if inputs and "shared" in inputs else None
    job = Job(*views, prepared.num_outputs, recipe, trainer_options, folder, shared)
    keras.utils.set_random_seed(seed)
    checkpoint = Path(inputs["checkpoint"]) if inputs and "checkpoint" in inputs else folder
    history = HistoryFile(checkpoint)
    begun = time.perf_counter()
    extra = found.run(model, job, history)
    seconds = time.perf_counter() - begun + history.seconds_before + history.seconds_elsewhere
    summary: dict[str, Any] = {"trainer": trainer, "precision": precision}
    summary |= _summarise(job, prepared, history, seconds, _diverged(model, history))
    part = found.trained_part(model)
    summary |= {"model_file": _save(part, folder)}
    if part is not None:
        write_npz(folder / ANSWERS, probabilities=first_answers(model, prepared))
    write_csv(folder / HISTORY, history.frame)
    resume.forget(checkpoint)
    write_json(folder / SUMMARY, summary | extra)
    return open_training(folder)


def first_answers(model: keras.Model, prepared: Prepared) -> np.ndarray:
    """What a network says of the first training images, (at most ANSWERED, outputs); computed without a graph."""
    images = prepared.train.batch(np.arange(min(ANSWERED, len(prepared.train))))
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def find_trainer(name: str) -> Trainer:
    """The trainer of this name; raises ValueError with the nearest name when there is none."""
    check_name("trainer", name, TRAINERS)
    trainer: Trainer = importlib.import_module(f"bakeoff.lab.{TRAINERS[name]}").TRAINER
    return trainer


def open_training(folder: str | Path) -> Training:
    """Read what `train` wrote."""
    folder = Path(folder)
    return Training(pd.read_csv(folder / HISTORY), read_json(folder / SUMMARY))


def load_trained(inputs: Mapping[str, str]) -> keras.Model:
    """The trained network: images (n, *input_shape) float32 -> probabilities (n, outputs).

    Where nothing is trained, it is the network as built; where only a head was trained, the base is built again.
    """
    folder = Path(inputs["train"])
    summary = read_json(folder / SUMMARY)
    use_precision(summary["precision"])
    if summary["trainer"] not in PARTLY_SAVED:
        return keras.models.load_model(folder / MODEL, compile=False)
    model = rebuild(inputs["build"])
    part = find_trainer(summary["trainer"]).trained_part(model)
    if part is not None:
        part.load_weights(folder / MODEL)
    return model


def diverged_epoch(inputs: Mapping[str, str], probabilities: np.ndarray) -> int | None:
    """The epoch in which the training diverged; its last, where only the answers (n, k) show it; None where neither."""
    summary = read_json(Path(inputs["train"]) / SUMMARY)
    if summary["diverged_epoch"] is not None:
        return int(summary["diverged_epoch"])
    return None if np.isfinite(probabilities).all() else int(summary["epochs"])


def chosen_by_search(inputs: Mapping[str, str] | None) -> dict[str, Any]:
    """What a search before this stage chose for the training (optimizer, learning rate); empty without a search."""
    if not inputs or "search" not in inputs:
        return {}
    return dict(read_json(Path(inputs["search"]) / "best.json")["training"])


def _after_search(
    recipe: Recipe, budget: float | None, inputs: Mapping[str, str] | None
) -> tuple[Recipe, float | None]:
    """The recipe with what a search chose, and the half of the budget that it left."""
    if not inputs or "search" not in inputs:
        return recipe, budget
    return replace(recipe, **chosen_by_search(inputs)), None if budget is None else budget / 2


def _check_precision(model: keras.Model, precision: str) -> None:
    check_name("precision", precision, PRECISIONS)
    built = model.dtype_policy.name
    if built != precision:
        raise ValueError(
            f"the network was built in {built}, but is to be trained in {precision}:"
            " call training.use_precision before models.rebuild"
        )


def _save(part: keras.Model | None, folder: Path) -> str | None:
    """Save what was trained, without the optimizer's state; None when nothing was."""
    if part is None:
        return None
    bare = keras.Model(part.inputs[0], part.outputs[0], name=part.name)  # the same layers, never compiled
    with replacing(folder / MODEL) as temporary:
        bare.save(temporary)
    return MODEL


def _diverged(model: keras.Model, history: HistoryFile) -> int | None:
    """The epoch that left the network with numbers that are not finite; None where all is well."""
    if history.diverged or not history.rows:
        return history.diverged
    numbers = [each for each in model.get_weights() if np.issubdtype(each.dtype, np.floating)]
    return None if all(np.isfinite(each).all() for each in numbers) else int(history.rows[-1]["epoch"])


def _summarise(
    job: Job, prepared: Prepared, history: HistoryFile, seconds: float, diverged: int | None
) -> dict[str, Any]:
    """training.json: how it was trained, on how much, and how the last epoch ended, unless it diverged."""
    recipe, frame = job.recipe, history.frame
    last = frame.iloc[-1].to_dict() if len(frame) and not diverged else {}
    images = min(history.steps * recipe.batch_size, len(job.train) * len(frame))
    names = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss")
    return {
        "optimizer": recipe.optimizer if len(frame) else None,
        "learning_rate": recipe.learning_rate if len(frame) else None,
        "loss": recipe.loss,
        "batch_size": recipe.batch_size,
        "epochs": len(frame),
        "epochs_planned": recipe.epochs,
        "diverged_epoch": diverged,
        "optimizer_steps": history.steps,
        "train_images": len(job.train) if len(frame) else 0,
        "train_images_available": len(prepared.train),
        "validation_images": len(job.validation) if job.validation is not None and len(frame) else 0,
        "validation_images_available": len(prepared.validation) if prepared.validation is not None else 0,
        "validation_source": prepared.validation_source,
        "unseen_classes": prepared.unseen_classes(job.train.labels) if len(frame) else {},
        **{name: last.get(name) for name in names},
        "best_epoch": best_epoch(frame),
        "train_seconds": seconds if len(frame) else 0.0,
        "images_per_second": images / history.training_seconds if history.training_seconds else 0.0,
    }


def best_epoch(history: pd.DataFrame) -> int:
    """The first epoch with the highest validation accuracy (training accuracy without validation); 0 = none."""
    for name in ("validation_accuracy", "train_accuracy"):
        column = pd.to_numeric(history[name])
        if column.notna().any():
            return int(history["epoch"].iloc[int(column.argmax())])
    return 0
