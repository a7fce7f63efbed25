"""Convolutional networks trained from scratch. All take images (n, height, width, channels) to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, regularizers

from bakeoff.lab.models import classify, require_side


def build_conv_pool_network(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    filters: Sequence[int] | int,
    kernel_size: int,
    padding: str,
    dense_units: int,
    pool_size: int = 2,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float = 0.0,
    dense_dropout: float = 0.0,
) -> keras.Model:
    """[Convolution relu, max pooling] for each of `filters`; Flatten; one dense relu layer; the output layer.

    `l1` and `l2` penalise the convolutions' kernels; `dropout` stands before Flatten, `dense_dropout` after the
    dense layer, and neither layer is there when its rate is 0.

    Sources: Assignment No. 3: image classification in 4 stages; Report: Image classification using convolutional
    neural networks; Identifying images using the universal workflow of machine learning; Springboard Capstone
    Project 2 (augmented images).
    """
    penalty = regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
    images = x = keras.Input(input_shape, name="images")
    for number, width in enumerate([filters] if isinstance(filters, int) else filters, start=1):
        x = _convolution(x, width, kernel_size, padding, f"convolution_{number}", penalty)
        x = _pool(x, pool_size, f"pool_{number}")
    x = _dropout(x, dropout, "dropout")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = _dropout(x, dense_dropout, "dense_dropout")
    return keras.Model(images, classify(x, num_classes), name="conv_pool_network")


def build_double_conv_network(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    filters: Sequence[int],
    kernel_size: int,
    second_padding: str,
    dropouts: Sequence[float],
    dense_units: int,
    dense_dropout: float,
) -> keras.Model:
    """For each block two convolutions, max pooling and dropout; then a dense layer, dropout and the output layer.

    The first convolution of a block is padded `same`, the other as `second_padding` says; all are relu, as is the
    dense layer. `filters` and `dropouts` have one entry a block.

    Source: Deep Learning: Image recognition, Capstone project #3; with `second_padding: same` also the
    `batchnorm_network` without its BatchNorm layers.
    """
    images = x = keras.Input(input_shape, name="images")
    for number, (width, rate) in enumerate(_blocks(filters, dropouts), start=1):
        x = _convolution(x, width, kernel_size, "same", f"convolution_{number}a")
        x = _convolution(x, width, kernel_size, second_padding, f"convolution_{number}b")
        x = _pool(x, 2, f"pool_{number}")
        x = _dropout(x, rate, f"dropout_{number}")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = _dropout(x, dense_dropout, "dense_dropout")
    return keras.Model(images, classify(x, num_classes), name="double_conv_network")


def build_batchnorm_network(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    filters: Sequence[int],
    kernel_size: int,
    dropouts: Sequence[float],
    dense_units: int,
    dense_dropout: float,
) -> keras.Model:
    """For each block twice [convolution same relu, BatchNorm], max pooling, dropout; then a dense head.

    The head: dense relu, BatchNorm, dropout and the output layer. `filters` and `dropouts` have one entry a block.

    Source: Identifying images using the universal workflow of machine learning.
    """
    images = x = keras.Input(input_shape, name="images")
    for number, (width, rate) in enumerate(_blocks(filters, dropouts), start=1):
        for letter in "ab":
            x = _convolution(x, width, kernel_size, "same", f"convolution_{number}{letter}")
            x = layers.BatchNormalization(name=f"batchnorm_{number}{letter}")(x)
        x = _pool(x, 2, f"pool_{number}")
        x = _dropout(x, rate, f"dropout_{number}")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = layers.BatchNormalization(name="dense_batchnorm")(x)
    x = _dropout(x, dense_dropout, "dense_dropout")
    return keras.Model(images, classify(x, num_classes), name="batchnorm_network")


def build_tuner_network(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    conv1_filters: int,
    conv1_kernel: int,
    conv2_filters: int,
    conv2_kernel: int,
    dense_units: int,
    blocks: int,
) -> keras.Model:
    """A convolution, `blocks` times [convolution, dropout 0.5, BatchNorm], then dense and output layer.

    All are relu and padded `valid`. Nothing is pooled: each convolution takes kernel - 1 pixels off the side. All
    later convolutions share `conv2_filters` and `conv2_kernel`.

    Source: Springboard Capstone Project 2: Classification of Images (Deep Learning), its two Keras Tuner models.
    """
    images = keras.Input(input_shape, name="images")
    x = _convolution(images, conv1_filters, conv1_kernel, "valid", "convolution_1")
    for number in range(2, blocks + 2):
        x = _convolution(x, conv2_filters, conv2_kernel, "valid", f"convolution_{number}")
        x = layers.Dropout(0.5, name=f"dropout_{number}")(x)
        x = layers.BatchNormalization(name=f"batchnorm_{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    return keras.Model(images, classify(x, num_classes), name="tuner_network")


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    padding: str,
    name: str,
    penalty: regularizers.Regularizer | None = None,
) -> keras.KerasTensor:
    if padding == "valid":
        require_side(x, kernel_size, name)
    layer = layers.Conv2D(
        filters, kernel_size, padding=padding, activation="relu", kernel_regularizer=penalty, name=name
    )
    return layer(x)


def _pool(x: keras.KerasTensor, size: int, name: str) -> keras.KerasTensor:
    require_side(x, size, name)
    return layers.MaxPooling2D(size, name=name)(x)


def _dropout(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
    return layers.Dropout(rate, name=name)(x) if rate else x


def _blocks(filters: Sequence[int], dropouts: Sequence[float]) -> list[tuple[int, float]]:
    if len(filters) != len(dropouts):
        raise ValueError(
            f"filters and dropouts need one entry for each block, but there are {len(filters)} and {len(dropouts)}"
        )
    return list(zip(filters, dropouts, strict=True))
