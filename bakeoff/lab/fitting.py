"""What every trainer shares: the recipe, compiling, fitting, and the file with a row for each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd

from bakeoff.lab.batches import Batches, Examples
from bakeoff.lab.files import write_csv
from bakeoff.lab.models.size import require_memory
from bakeoff.lab.resume import Keeper, Resume, as_array, from_array

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import View

OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}
OPTIMIZER_SLOTS = {"adam": 2, "adamw": 2}  # numbers that they keep for each weight; the others one, or none
SPARSE, CATEGORICAL, BINARY = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
)
STEPS_WITHOUT_GRAPH = 5  # a training of so few steps runs operation by operation: a graph takes as long as ten or more
HISTORY_COLUMNS = (
    "epoch",
    "train_accuracy",
    "train_loss",
    "validation_accuracy",
    "validation_loss",
    "seconds",
    "learning_rate",
)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the fields are parameters of the same names."""

    loss: str = SPARSE
    label_smoothing: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 0.001
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    epochs: int = 10
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    jit_compile: bool = False
    steps_per_execution: int = 1


@dataclass(frozen=True)
class Job:
    """What a trainer gets besides the network: images, recipe, its own options, and where files go."""

    train: Examples
    validation: Examples | None
    num_outputs: int
    recipe: Recipe
    options: Mapping[str, Any]
    folder: Path
    shared: Path | None = None  # folder for what other trainings can use as well

    def option(self, name: str, default: Any) -> Any:
        """A trainer's option, or its default."""
        return self.options.get(name, default)


def _three_a_step(epochs: int, options: Mapping[str, Any]) -> tuple[float, float]:
    return 3.0 * epochs, 1.0 * epochs


def _whole(model: keras.Model) -> keras.Model | None:
    return model


@dataclass(frozen=True)
class Trainer:
    """What a trainer's module offers as TRAINER.

    `run(model, job, history)` trains, and returns what training.json shall say besides the usual. `options` are the
    names in trainer_options that it knows. `passes(epochs, options)` are the forward passes that a training and a
    validation image cost in all (a training step counts three). `trained_part(model)` is what to save.
    """

    run: Callable[[keras.Model, Job, HistoryFile], dict[str, Any]]
    options: tuple[str, ...] = ()
    passes: Callable[[int, Mapping[str, Any]], tuple[float, float]] = _three_a_step
    trained_part: Callable[[keras.Model], keras.Model | None] = _whole


class HistoryFile(keras.callbacks.Callback):
    """Keeps a row for each epoch and rewrites history.csv after each: result and sign of progress in one.

    A training whose loss is no longer a finite number ends with that epoch: nothing is learned after it.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` None keeps the rows in memory only."""
        super().__init__()
        self.path = folder / "history.csv" if folder else None
        self.rows: list[dict[str, Any]] = []
        self.training_seconds = 0.0  # without validation
        self.seconds_before = 0.0  # of the epochs that were done before this training was taken up again
        self.seconds_elsewhere = 0.0  # of work that an earlier training has done for this one
        self.steps = 0
        self._steps_of_epoch = 0
        self._begun = 0.0
        self._trained: float | None = None
        self._write()

    @property
    def frame(self) -> pd.DataFrame:
        """The rows so far, with the columns of history.csv."""
        return pd.DataFrame(self.rows, columns=list(HISTORY_COLUMNS))

    @property
    def diverged(self) -> int | None:
        """The epoch whose loss was no finite number, on training or validation images; None while there is none."""
        losses = ("train_loss", "validation_loss")
        lost = (row["epoch"] for row in self.rows if any(not math.isfinite(row[n] or 0.0) for n in losses))
        return next(lost, None)

    def state(self) -> dict[str, np.ndarray]:
        """What a training that is taken up again goes on from."""
        return {"rows": as_array([self.rows, self.training_seconds, self.steps])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        self.rows, self.training_seconds, self.steps = from_array(state["rows"])
        self.seconds_before = sum(row["seconds"] for row in self.rows)
        self._write()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock."""
        self._begun, self._trained = time.perf_counter(), None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the steps."""
        self._steps_of_epoch = batch + 1

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Validation begins, the training of this epoch is over."""
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add the epoch's row."""
        now, logs = time.perf_counter(), logs or {}
        self.training_seconds += (self._trained or now) - self._begun
        self.steps += self._steps_of_epoch
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values = [logs.get(name) for name in ("accuracy", "loss", "val_accuracy", "val_loss")]
        row = [epoch + 1, *(None if value is None else float(value) for value in values), now - self._begun, rate]
        self.rows.append(dict(zip(HISTORY_COLUMNS, row, strict=True)))
        self._write()
        if self.diverged:
            self.model.stop_training = True

    def _write(self) -> None:
        if self.path is not None:
            write_csv(self.path, self.frame)


def fit(
    model: keras.Model,
    job: Job,
    history: HistoryFile,
    *,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    keepers: tuple[Keeper, ...] = (),
    drop_last: bool = False,
) -> None:
    """Fit a compiled network on the epochs from `first_epoch` up to, but without, `last_epoch` (None: to the end).

    A training that was cut short goes on after its last saved epoch; `keepers` are the callbacks with a state. One
    that has diverged does not go on.
    """
    recipe = job.recipe
    last_epoch = recipe.epochs if last_epoch is None else last_epoch
    epochs = last_epoch - first_epoch  # all of them, also when a part is done: it decides how every part runs
    resume = Resume(history.path.parent if history.path else None, [history, *keepers])
    first_epoch = resume.restore(model, first_epoch, last_epoch)
    if history.diverged:
        return
    train = batches_for(job, job.train, shuffle=True, first_epoch=first_epoch, drop_last=drop_last)
    model.run_eagerly = len(train) * epochs <= STEPS_WITHOUT_GRAPH and not model.jit_compile
    validation = batches_for(job, job.validation) if job.validation is not None else None
    model.fit(
        train.feed(),
        steps_per_epoch=len(train),
        initial_epoch=first_epoch,
        epochs=last_epoch,
        validation_data=validation.feed() if validation is not None else None,
        validation_steps=len(validation) if validation is not None else None,
        shuffle=False,  # Batches shuffles; Keras would shuffle the order of batches a second time
        callbacks=[*callbacks, history, resume],
        verbose=0,
    )


def batches_for(
    job: Job, examples: Examples, *, shuffle: bool = False, first_epoch: int = 0, drop_last: bool = False
) -> Batches:
    """The job's training batches (`shuffle`, with its augmentation), or plain ones for validation."""
    recipe = job.recipe
    return Batches(
        examples,
        recipe.batch_size,
        num_outputs=job.num_outputs,
        one_hot=needs_one_hot(recipe, job.num_outputs),
        seed=recipe.seed,
        shuffle=shuffle,
        augmentation=recipe.augmentation if shuffle else None,
        first_epoch=first_epoch,
        drop_last=drop_last,
    )


def needs_one_hot(recipe: Recipe, num_outputs: int) -> bool:
    """Whether labels must be one-hot: the sparse loss takes class numbers, but cannot smooth them."""
    return num_outputs > 1 and (recipe.loss != SPARSE or recipe.label_smoothing > 0)


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    num_outputs: int,
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
    steps_per_execution: int | None = None,
) -> None:
    """Compile a network with the recipe's loss, the accuracy that belongs to the task, and its optimizer.

    Raises ValueError for a network that this machine's memory cannot hold together with what training it takes.
    """
    slots = OPTIMIZER_SLOTS.get(recipe.optimizer, 1)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    require_memory(parameters, 2 + slots, "to train a network")  # its weights, their gradients, the optimizer's own
    model.compile(
        optimizer=optimizer or make_optimizer(recipe),
        loss=make_loss(recipe, num_outputs),
        metrics=[make_accuracy(recipe, num_outputs)],
        # Keras on JAX runs operation by operation unless it compiles.
        jit_compile=recipe.jit_compile or keras.backend.backend() == "jax",
        steps_per_execution=steps_per_execution or recipe.steps_per_execution,
    )
    # TensorFlow traces a step that makes variables twice; with the optimizer's there before, once: half the wait.
    model.optimizer.build(model.trainable_variables)


def make_optimizer(recipe: Recipe, *, learning_rate: Any = None) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, with another learning rate or a schedule if one is given.

    Raises ValueError for an unknown name or an argument that the optimizer does not take.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {recipe.optimizer!r}: take one of {', '.join(OPTIMIZERS)}")
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    try:
        return OPTIMIZERS[recipe.optimizer](learning_rate=rate, **recipe.optimizer_options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{recipe.optimizer} does not take optimizer_options {dict(recipe.optimizer_options)}: {error}"
        ) from None


def make_loss(recipe: Recipe, num_outputs: int) -> keras.losses.Loss:
    """The mean loss over a batch; a sparse loss with label smoothing is computed on one-hot labels.

    Raises ValueError when the loss is unknown or does not suit the number of outputs.
    """
    if recipe.loss not in (SPARSE, CATEGORICAL, BINARY):
        raise ValueError(f"unknown loss {recipe.loss!r}: take one of {SPARSE}, {CATEGORICAL}, {BINARY}")
    if num_outputs == 1 and recipe.loss != BINARY:
        raise ValueError(f"a network with one output needs loss {BINARY}, not {recipe.loss}")
    if recipe.loss == BINARY:
        return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
    if needs_one_hot(recipe, num_outputs):
        return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()


def make_accuracy(recipe: Recipe, num_outputs: int) -> keras.metrics.Metric:
    """The share of images whose likeliest class is the true one.

    Named explicitly: with binary cross-entropy on one-hot labels, Keras' own choice would count outputs, not images.
    """
    if num_outputs == 1:
        return keras.metrics.BinaryAccuracy(name="accuracy")
    if needs_one_hot(recipe, num_outputs):
        return keras.metrics.CategoricalAccuracy(name="accuracy")
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def cut_to_budget(
    train: View,
    validation: View | None,
    budget_tflop: float | None,
    *,
    forward_gflop: float,
    passes: tuple[float, float],
    batch_size: int,
) -> tuple[View, View | None]:
    """The training and validation images that a budget pays for: the first n of each, in the proportion they had.

    At least one batch is trained on. `passes` are the forward passes that a training and a validation image cost,
    `forward_gflop` the arithmetic of one.
    """
    share = len(validation) / len(train) if validation is not None else 0.0
    gflop = forward_gflop * (passes[0] + share * passes[1])
    if budget_tflop is None or gflop * len(train) <= budget_tflop * 1000:
        return train, validation
    count = min(len(train), max(int(budget_tflop * 1000 / gflop), batch_size))
    if validation is None:
        return train.first(count), None
    return train.first(count), validation.first(min(len(validation), max(1, round(count * share))))
