"""A narrow network for training from scratch in minutes, after the public airbench94 record."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import initializers, layers

EIGENVALUE_FLOOR = 5e-4
PATCH = 2  # pixels a side of the patches that the first layer whitens
_IMAGES_AT_ONCE = 500


def speedrun_cnn(
    input_shape: tuple[int, int, int], num_classes: int, *, widths: Sequence[int] = (64, 256, 256)
) -> keras.Model:
    """A whitening convolution, three blocks of two convolutions, global max pooling, the output layer.

    Images (n, height, width, channels), standardised, -> probabilities (n, num_classes). The training sets the kernel
    of `whitening` with `whitening_weights`; convolutions begin as the identity on as many channels as they take in.

    Source: the airbench94 record for CIFAR-10 (Keller Jordan), rewritten for Keras.
    """
    images = keras.Input(input_shape)
    # 4 eigenvectors of 2x2 patches for each channel, and their negatives.
    whitening = layers.Conv2D(8 * input_shape[-1], 2, name="whitening")
    x = layers.Activation("gelu")(whitening(images))
    whitening.kernel.trainable = False  # its bias is trained
    for width in widths:
        for pool in (True, False):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=_uniform())(x)
            x = layers.MaxPooling2D(2)(x) if pool else x
            # The record's epsilon is 1e-12; 1e-5 is the least that every GPU library takes.
            x = layers.BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(x)
            x = layers.Activation("gelu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Rescaling(1 / 9)(x)
    x = layers.Dense(num_classes, use_bias=False, kernel_initializer=_uniform(), dtype="float32", name="logits")(x)
    activation = "softmax" if num_classes > 1 else "sigmoid"
    model = keras.Model(images, layers.Activation(activation, dtype="float32")(x), name="speedrun_cnn")
    _begin_as_identity(model)
    return model


def whitening_weights(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the layer `whitening`, from the standardised images (n, height, width, c) float32.

    The kernel, (2, 2, c, 8c) float32, holds the 4c eigenvectors of the covariance of all 2x2 patches, each divided
    by sqrt(eigenvalue + 5e-4), the largest first, and then their negatives. The bias, (8c,), is zero.
    """
    if images.ndim != 4 or min(images.shape[0], images.shape[1] - 1, images.shape[2] - 1) < 1:
        raise ValueError(f"whitening needs images (n, height, width, channels) of 2x2 or more, not {images.shape}")
    channels = images.shape[-1]
    eigenvalues, eigenvectors = np.linalg.eigh(_patch_covariance(images))
    filters = (eigenvectors / np.sqrt(np.maximum(eigenvalues, 0.0) + EIGENVALUE_FLOOR))[:, ::-1]
    kernel = np.concatenate([filters, -filters], axis=1).reshape(PATCH, PATCH, channels, -1)
    return kernel.astype(np.float32), np.zeros(kernel.shape[-1], np.float32)


def _uniform() -> initializers.Initializer:
    """Uniform between ±1/sqrt(inputs of a unit), the default of the library that the record is written in."""
    return initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")


def _begin_as_identity(model: keras.Model) -> None:
    """Let the first min(c_in, c_out) filters of each trained convolution pass their channel through."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.name != "whitening":
            kernel = keras.ops.convert_to_numpy(layer.kernel).copy()  # (k, k, c_in, c_out)
            passed, middle = min(kernel.shape[2:]), kernel.shape[0] // 2
            kernel[..., :passed] = 0.0
            kernel[middle, middle, range(passed), range(passed)] = 1.0
            layer.kernel.assign(kernel)


def _patch_covariance(images: np.ndarray) -> np.ndarray:
    """Mean outer product (4c, 4c) of all 2x2 patches, each flattened as a kernel is: row, column, channel."""
    total: np.ndarray | float = 0.0
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = images[start : start + _IMAGES_AT_ONCE].astype(np.float64)
        corners = [part[:, :-1, :-1], part[:, :-1, 1:], part[:, 1:, :-1], part[:, 1:, 1:]]
        patches = np.concatenate(corners, axis=-1).reshape(-1, PATCH**2 * images.shape[-1])
        total = total + patches.T @ patches
    return np.asarray(total) / (len(images) * (images.shape[1] - 1) * (images.shape[2] - 1))
