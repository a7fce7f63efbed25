"""Handwritten digits, to be seen beside other images: MNIST's where they are at hand, else scikit-learn's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bakeoff.lab.plots.words import percent, text

MNIST = "MNIST"
SKLEARN = "scikit-learn's digits, since MNIST is not at hand"
_DARK = 32  # of 255: a pixel below it is background


def handwritten(count: int) -> tuple[np.ndarray, str]:
    """The first `count` digits (n, h, w, 1) uint8, bright on dark, and what they are."""
    for read in (_of_keras, _of_tfds):
        try:
            return read(count), MNIST
        except (OSError, KeyError, ValueError, ImportError):
            continue  # not at hand in this form
    from sklearn.datasets import load_digits

    images = load_digits().images[:count, ..., None]
    return (images * (255 / images.max())).astype(np.uint8), SKLEARN


def contrast(images: np.ndarray) -> float:
    """The mean over the images of the standard deviation of an image's gray values, 0 to 255."""
    return float(images.mean(axis=-1).std(axis=(1, 2)).mean())


def beside_digits_words(images: np.ndarray, digits: np.ndarray, data_set: str, which: str) -> str:
    """Contrast and resolution of both, in numbers."""
    dark = [float((each.mean(axis=-1) < _DARK).mean()) for each in (digits, images)]
    height, width = images.shape[1:3]
    return (
        f"The digits ({which}) have {digits.shape[1]} × {digits.shape[2]} pixels, {percent(dark[0], 0)} of them dark, "
        f"and a contrast (the standard deviation of an image's gray values) of {contrast(digits):.0f} of 255. The "
        f"images of {text(data_set)} have {height} × {width} pixels, {percent(dark[1], 0)} of them dark, and a contrast"
        f" of {contrast(images):.0f}. A digit is a bright stroke on an empty ground; what these images show has a "
        "background, too."
    )


def _of_keras(count: int) -> np.ndarray:
    """From the file that `keras.datasets.mnist` downloads."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    with np.load(home / "datasets" / "mnist.npz") as file:
        return np.asarray(file["x_test"][:count, ..., None])


def _of_tfds(count: int) -> np.ndarray:
    """From a copy that TFDS has prepared."""
    from bakeoff.lab.prepared import Prepared, data_dir

    if not (data_dir() / "mnist").is_dir():  # asked before TFDS is imported
        raise FileNotFoundError("mnist")
    return next(iter(Prepared("mnist", seed=0).batches("test", np.arange(count))))[0]
