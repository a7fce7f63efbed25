"""Networks for variants that are written in YAML alone: their options are `builder_options` of the variant's file.

Images (n, height, width, channels) -> probabilities (n, num_classes); one class means one sigmoid unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, regularizers


def dense_network(input_shape: tuple[int, int, int], num_classes: int, *, units: Sequence[int]) -> keras.Model:
    """A dense layer for each of `units` on the flattened image."""
    model = keras.Sequential([keras.Input(input_shape), layers.Flatten()], name="dense_network")
    for width in units:
        model.add(layers.Dense(width, activation="relu"))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model


def conv_pool_network(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    filters: Sequence[int] | int,
    kernel_size: int = 3,
    padding: str = "valid",
    dense_units: int = 64,
    pool_size: int = 2,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float = 0.0,
    dense_dropout: float = 0.0,
) -> keras.Model:
    """A convolution with max pooling for each of `filters`, then one dense layer.

    `l1` and `l2` penalise the convolutions' kernels; `dropout` stands before Flatten, `dense_dropout` after the
    dense layer, and neither layer is there when its rate is 0.
    """
    model = keras.Sequential([keras.Input(input_shape)], name="conv_pool_network")
    for width in [filters] if isinstance(filters, int) else filters:
        penalty = regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
        model.add(layers.Conv2D(width, kernel_size, padding=padding, activation="relu", kernel_regularizer=penalty))
        model.add(layers.MaxPooling2D(pool_size))
    if dropout:
        model.add(layers.Dropout(dropout))
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation="relu"))
    if dense_dropout:
        model.add(layers.Dropout(dense_dropout))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model
