"""Dense networks on raw pixels: images (n, height, width, channels) -> probabilities (n, num_classes)."""

from __future__ import annotations

import keras
from keras import layers


def ann(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Two wide dense layers on the flattened image.

    Source: Assignment No. 3: image classification in 4 stages.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(3000, activation="relu"),
            layers.Dense(1000, activation="relu"),
            layers.Dense(num_classes, activation="softmax" if num_classes > 1 else "sigmoid", dtype="float32"),
        ],
        name="ann",
    )
