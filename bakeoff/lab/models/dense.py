"""Dense networks on raw pixels."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from bakeoff.lab.models import classify


def build_dense_network(
    input_shape: tuple[int, int, int], num_classes: int, *, units: Sequence[int] = (3000, 1000)
) -> keras.Model:
    """Flatten, a dense relu layer for each of `units`, and the output layer.

    Images (n, height, width, channels) -> probabilities (n, num_classes).
    Source: Assignment No. 3: image classification in 4 stages.
    """
    images = keras.Input(input_shape, name="images")
    x = layers.Flatten(name="flatten")(images)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense_{number}")(x)
    return keras.Model(images, classify(x, num_classes), name="dense_network")
