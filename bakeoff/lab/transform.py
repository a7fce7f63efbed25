"""The map from stored pixels to the numbers that a network sees: channels first, then offset and divisor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

CAFFE_MEANS = (103.939, 116.779, 123.68)  # ImageNet's mean blue, green and red, as keras.applications subtracts them
_EPSILON = 1e-6  # a channel that never changes is divided by this instead of by 0


@dataclass(frozen=True)
class Transform:
    """The map from stored pixels to what the network sees: channels first, then (x - offset) / divisor.

    gray_weights: weights of the channels that become one, or None. repeat: one channel becomes so many.
    reverse: the order of the channels is turned round. offset, divisor: one for all channels or one for each.
    """

    gray_weights: tuple[float, ...] | None = None
    repeat: int = 1
    reverse: bool = False
    offset: tuple[float, ...] = (0.0,)
    divisor: tuple[float, ...] = (1.0,)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, h, w, c) uint8 or float pixels to (n, h, w, c') float32; the argument is left as it is."""
        pixels = self.channels(images)  # new ones, which may be changed in place
        if any(self.offset):
            pixels -= np.array(self.offset, np.float32)
        if any(divisor != 1 for divisor in self.divisor):
            pixels /= np.array(self.divisor, np.float32)
        return pixels

    def channels(self, images: np.ndarray) -> np.ndarray:
        """Only the first half: float32 pixels 0..255 in the channels that the network sees."""
        pixels = np.asarray(images).astype(np.float32)
        if self.gray_weights is not None:
            parts = [pixels[..., k] * np.float32(weight) for k, weight in enumerate(self.gray_weights)]
            pixels = sum(parts[1:], parts[0])[..., None]
        if self.repeat > 1:
            pixels = np.repeat(pixels, self.repeat, axis=-1)
        return pixels[..., ::-1] if self.reverse else pixels

    def scale(self, offset: Sequence[float] | float, divisor: Sequence[float] | float) -> Transform:
        """These channels, then (x - offset) / divisor: one number for all channels or one for each."""
        wide = np.maximum(np.atleast_1d(divisor).astype(float), _EPSILON)
        return replace(self, offset=tuple(np.atleast_1d(offset).astype(float).tolist()), divisor=tuple(wide.tolist()))


# What pretrained weights expect: offset and divisor.
EXPECTED: dict[str, tuple[Sequence[float] | float, float]] = {
    "symmetric": (127.5, 127.5),
    "caffe": (CAFFE_MEANS, 1),
    "none": (0, 1),
}


def is_scaled(transform: Transform, channels: int, scaling: str) -> bool:
    """Whether `transform` does to images with so many channels what `scaling` (caffe, symmetric or none) does."""
    color = "rgb" if transform.gray_weights is None else "gray"
    wanted = choose_channels(channels, color, transform.gray_weights or (), scaling).scale(*EXPECTED[scaling])
    pixels = (np.arange(256 * channels) % 256).astype(np.uint8).reshape(1, 16, -1, channels)
    own, other = transform(pixels), wanted(pixels)
    return own.shape == other.shape and bool(np.allclose(own, other, atol=0.01))


def choose_channels(channels: int, color: str, gray_weights: Sequence[float], scaling: str) -> Transform:
    """The first half of the transform: gray or not, and for caffe three channels in the order blue, green, red.

    Raises ValueError where the images have not the channels that the settings speak of.
    """
    gray = color == "gray" and channels > 1
    if gray and len(gray_weights) != channels:
        raise ValueError(f"gray_weights has {len(gray_weights)} weights for {channels} channels; give one for each.")
    seen = 1 if gray else channels
    caffe = scaling == "caffe"
    if caffe and seen not in (1, 3):
        raise ValueError(f"scaling caffe needs images of one or three channels, not {seen}; choose another scaling.")
    weights = tuple(float(weight) for weight in gray_weights) if gray else None
    return Transform(weights, repeat=3 if caffe and seen == 1 else 1, reverse=caffe)


def from_stored(stored: Mapping[str, Any]) -> Transform:
    """The transform that was written as JSON by way of `dataclasses.asdict`."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return Transform(**plain)
