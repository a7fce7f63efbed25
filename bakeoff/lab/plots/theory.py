"""The small computations behind the background chapter's figures, on synthetic images or drawn numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

KERNELS: Mapping[str, np.ndarray] = {
    "vertical edges": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float),
    "horizontal edges": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], float),
}
STEEPNESS = np.array([1.0, 50.0])  # of the valley along its floor and across it
START = (-2.4, 0.6)
OPTIMIZERS: Mapping[str, Callable[[], keras.optimizers.Optimizer]] = {
    "SGD": lambda: keras.optimizers.SGD(0.037),
    "SGD with momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.8),
    "Adam": lambda: keras.optimizers.Adam(0.15),
}


def gray(image: np.ndarray) -> np.ndarray:
    """The mean of the channels of a uint8 image (h, w, c), as (h, w) from 0 to 1."""
    return image.mean(axis=-1) / 255


def convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide `kernel` (k, k) over `values` (h, w) and sum the products: (h - k + 1, w - k + 1), no padding.

    As in every network library the kernel is not turned around, so mathematicians would say cross-correlation.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, kernel.shape)
    return np.einsum("ijuv,uv->ij", windows, kernel)


def pool(values: np.ndarray, take: Callable[..., np.ndarray], side: int = 2) -> np.ndarray:
    """One number for each block of `side` x `side` values, chosen by `take` (np.max, np.mean); rests are cut off."""
    rows, columns = (length // side for length in values.shape)
    blocks = values[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return take(blocks, axis=(1, 3))


def activations(values: np.ndarray) -> dict[str, np.ndarray]:
    """The activation functions of this report's networks, as Keras computes them."""
    functions = {"relu": keras.activations.relu, "gelu": keras.activations.gelu, "sigmoid": keras.activations.sigmoid}
    tensor = keras.ops.convert_to_tensor(values, "float32")
    return {name: keras.ops.convert_to_numpy(function(tensor)) for name, function in functions.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits, over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# ---------------------------------------------------------------- training


def valley(points: np.ndarray) -> np.ndarray:
    """The loss of two weights (..., 2): half the sum of steepness times weight squared; 0 at the origin."""
    return 0.5 * (STEEPNESS * np.asarray(points) ** 2).sum(axis=-1)


def descend(optimizer: keras.optimizers.Optimizer, steps: int = 40) -> np.ndarray:
    """Walk down the valley from START with real steps of a Keras optimizer: the path (steps + 1, 2)."""
    weights = keras.Variable(np.array(START, "float32"))
    optimizer.build([weights])
    path = [np.array(START)]
    for _ in range(steps):
        gradient = STEEPNESS * path[-1]  # the derivative of the valley
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")])
        path.append(keras.ops.convert_to_numpy(weights.value).astype(float))
    return np.stack(path)


def paths(steps: int = 40) -> dict[str, np.ndarray]:
    """The path of each optimizer."""
    return {name: descend(make(), steps) for name, make in OPTIMIZERS.items()}


def masks(shape: tuple[int, ...], rate: float, count: int, seed: int = 0) -> np.ndarray:
    """Dropout's masks (count, *shape): 0 with probability `rate`, else 1 / (1 - rate), so that the mean is 1."""
    return (np.random.default_rng(seed).random((count, *shape)) >= rate) / (1 - rate)


def layer_sums(images: np.ndarray, units: int = 8, seed: int = 0) -> np.ndarray:
    """What the units of a second dense layer with random weights add up for each image: (images, units)."""
    rng = np.random.default_rng(seed)
    flat = images.reshape(len(images), -1) / 255
    hidden = np.maximum(flat @ rng.normal(0, 1 / np.sqrt(flat.shape[1]), (flat.shape[1], 32)), 0)
    return (hidden @ rng.normal(0, 1, (32, units))).astype("float32")


def normalize(sums: np.ndarray) -> np.ndarray:
    """What Keras' BatchNormalization makes of a batch (n, units) in training, before it has learned anything."""
    layer = keras.layers.BatchNormalization()
    return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(sums), training=True))


# ---------------------------------------------------------------- overfitting


@dataclass(frozen=True)
class Fits:
    """Polynomials of every degree fitted to the training points, and the mean squared error in each part."""

    points: Mapping[str, tuple[np.ndarray, np.ndarray]]  # part -> (x, y)
    curves: Sequence[np.polynomial.Polynomial]  # by degree
    errors: Mapping[str, np.ndarray]  # part -> error by degree

    @property
    def chosen(self) -> int:
        """The degree with the smallest validation error."""
        return int(np.argmin(self.errors["validation"]))


def truth(x: np.ndarray) -> np.ndarray:
    """The curve that the points scatter around."""
    return np.sin(2.6 * x)


def fit_polynomials(highest: int = 12, seed: int = 0) -> Fits:
    """Draw points around the truth in three parts and fit polynomials of degree 0 to `highest` to the first."""
    rng = np.random.default_rng(seed)
    points = {}
    for part, count in {"training": 16, "validation": 16, "test": 200}.items():
        x = np.sort(rng.uniform(-1, 1, count))
        points[part] = (x, truth(x) + rng.normal(0, 0.25, count))
    curves = [np.polynomial.Polynomial.fit(*points["training"], degree) for degree in range(highest + 1)]
    errors = {part: np.array([np.mean((curve(x) - y) ** 2) for curve in curves]) for part, (x, y) in points.items()}
    return Fits(points, curves, errors)
