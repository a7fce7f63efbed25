"""The recipe that all trials of a search share, and how a trial's network is compiled with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}
SPARSE, CATEGORICAL, BINARY = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
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


def needs_one_hot(recipe: Recipe, num_outputs: int) -> bool:
    """Whether labels must be one-hot: the sparse loss takes class numbers, but cannot smooth them."""
    return num_outputs > 1 and (recipe.loss != SPARSE or recipe.label_smoothing > 0)


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    num_outputs: int,
) -> None:
    """Compile a network with the recipe's loss, the accuracy that belongs to the task, and its optimizer."""
    model.compile(
        optimizer=make_optimizer(recipe),
        loss=make_loss(recipe, num_outputs),
        metrics=[make_accuracy(recipe, num_outputs)],
        # Keras on JAX runs operation by operation unless it compiles.
        jit_compile=recipe.jit_compile or keras.backend.backend() == "jax",
        steps_per_execution=recipe.steps_per_execution,
    )


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """The recipe's optimizer.

    Raises ValueError for an unknown name or an argument that the optimizer does not take.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {recipe.optimizer!r}: take one of {', '.join(OPTIMIZERS)}")
    try:
        return OPTIMIZERS[recipe.optimizer](learning_rate=recipe.learning_rate, **recipe.optimizer_options)
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
