"""The losses of predictions, image by image, as Keras defines them: for evaluation and audit."""

from __future__ import annotations

import numpy as np

LOSSES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")
CLIPPED = 1e-7  # Keras' epsilon: its losses take no predicted probability below it


def losses(probabilities: np.ndarray, labels: np.ndarray, loss: str, label_smoothing: float = 0.0) -> np.ndarray:
    """The compiled loss (n,) of each image from probabilities (n, k) float32 and labels (n,), Keras' clipping included.

    As in Keras, what is compiled is what is reported: labels are smoothed here as they were in training, so that
    training, validation and test loss can be compared. ValueError for a loss that is not of LOSSES.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss is one of {', '.join(LOSSES)}, not {loss!r}")
    classes = probabilities.shape[1]
    spread_over = 2 if loss == "binary_crossentropy" else classes
    target = np.eye(classes)[labels] * (1 - label_smoothing) + label_smoothing / spread_over
    # Clipped as float32 numbers, as Keras does, then summed with more digits.
    kept = np.clip(probabilities, np.float32(CLIPPED), np.float32(1 - CLIPPED)).astype(np.float64)
    if loss == "binary_crossentropy":
        return -(target * np.log(kept) + (1 - target) * np.log(1 - kept)).mean(axis=1)
    return -(target * np.log(kept)).sum(axis=1)
