"""The networks for images with one gray channel: images (n, height, width, 1) -> probabilities (n, num_classes).

They take images of three channels as well. One class means a binary task: one sigmoid unit.

Source: Report: Image classification using convolutional neural networks.
"""

from __future__ import annotations

import keras
from keras import layers, regularizers


def gray_cnn(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """The first network of the source: two convolutions of 2x2 with max pooling, and one dense layer."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(64, 2, padding="same", activation="relu"),  # relu assumed
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 2, padding="same", activation="relu"),  # relu assumed
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="gray_cnn",
    )


def gray_grid(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    filters: int = 64,
    l1: float = 0.001,
    pool_size: int = 2,
    dropout: float = 0.2,
    dense_units: int = 512,
) -> keras.Model:
    """The network of the HParams grid: one regularised convolution; the defaults are the best point of its source."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(filters, 2, activation="relu", kernel_regularizer=regularizers.L1L2(l1=l1, l2=0.0)),
            layers.MaxPooling2D(pool_size),
            layers.Dropout(dropout),
            layers.Flatten(),
            layers.Dense(dense_units, activation="relu"),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="gray_grid",
    )


def gray_tuned(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """The tuned network of the source: three regularised convolutions with max pooling, dropout, one dense layer."""
    model = keras.Sequential([keras.Input(input_shape)], name="gray_tuned")
    for filters in (64, 128, 256):
        penalty = regularizers.L2(1e-4)
        model.add(layers.Conv2D(filters, 2, padding="same", activation="relu", kernel_regularizer=penalty))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Dropout(0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(512, activation="relu"))
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model.add(layers.Dense(num_classes, activation=activation, dtype="float32"))
    return model
