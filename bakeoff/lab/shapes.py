"""shapes10: synthetic images of ten shapes, for when no data set can be had.

It is built to teach what CIFAR-10 teaches. Colour alone decides nothing; position, size, rotation, background and
noise vary, so a network that looks for parts wherever they are beats one that weighs every pixel in its place.

Image i of a split depends on (seed, split, i) alone, so a shorter data set is the beginning of a longer one. The
numbers come from a hash of integers and from +, -, *, / and square roots of single floats, which IEEE 754 defines
to the last bit, and never from sines, exponentials or long sums, which differ between machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NAME = "shapes10"
VERSION = "2.0.0"
SIDE = 32
AVAILABLE = {"train": 50_000, "test": 10_000}

_CHUNK = 250  # images drawn at once: small enough for the processor's cache, and without effect on the images
_STREAMS = {"train": 1, "test": 2}
_DIRECTIONS = 1024  # rotations are multiples of a turn / 1024

# How hard the images are: a minute's training shows what a whole one does, dense networks far behind convolutional
# ones, and a whole one still has something to learn.
_GROUND = (20, 110)  # colour of the background, a channel
_CONTRAST = (80, 160)  # of the shape against it
_CLUTTER = (10, 60)  # contrast of the bars that are no part of the shape
_SLOPE = 1.0  # brightness a pixel, at most
_STRIPES = 10  # height of the stripes, at most
_NOISE = (0.02, 0.06)  # share of 255
_REACH = 4  # pixels from the middle
_RADIUS = (9.5, 12)  # pixels
_TILT = 0.15  # turns to either side


def _sine(k: int) -> float:
    """Sine of k / 1024 turns, rounded to 12 bits so that the last bit of a machine's sine does not matter."""
    return round(math.sin(2 * math.pi * k / _DIRECTIONS) * 4096) / 4096


_SINES = np.array([_sine(k) for k in range(_DIRECTIONS)], np.float32)


def generate(split: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the first `n` images of a split.

    Returns images (n, 32, 32, 3) uint8 and labels (n,) int64; every ten images in a row show every class once.
    Raises ValueError for a split or a count that there is not.
    """
    if split not in AVAILABLE:
        raise ValueError(f"shapes10 has no split {split!r}; it has {' and '.join(AVAILABLE)}.")
    if not 0 <= n <= AVAILABLE[split]:
        raise ValueError(f"shapes10 has {AVAILABLE[split]} {split} images, not {n}.")
    images = np.empty((n, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(n, np.int64)
    for start in range(0, n, _CHUNK):
        index = np.arange(start, min(start + _CHUNK, n), dtype=np.uint64)
        part = slice(start, start + len(index))
        labels[part] = _labels(split, index, seed)
        images[part] = _draw(labels[part], _keys(split, index, seed))
    return images, labels


# ---------------------------------------------------------------- chance, from integers


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers (the finalizer of splitmix64, Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _words(keys: np.ndarray, count: int) -> np.ndarray:
    """`count` random 64-bit integers for each key: (len(keys), count)."""
    return _mix(keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _keys(split: str, index: np.ndarray, seed: int) -> np.ndarray:
    """One 64-bit key for each image."""
    start = np.array([seed % 2**64], np.uint64)
    return _mix(_words(start, _STREAMS[split])[:, -1] ^ _mix(index))


def _labels(split: str, index: np.ndarray, seed: int) -> np.ndarray:
    """Every ten images hold every class once, in an order that differs from ten to ten."""
    ten, place = index // np.uint64(10), index % np.uint64(10)
    words = _words(_keys(split, ten + np.uint64(2**32), seed), 2)
    step = np.array([1, 3, 7, 9], np.uint64)[words[:, 0] % np.uint64(4)]
    return ((place * step + words[:, 1]) % np.uint64(10)).astype(np.int64)


class _Chance:
    """Random numbers for a chunk of images, each drawn once, in the order in which the drawing asks for them."""

    def __init__(self, keys: np.ndarray, count: int) -> None:
        self._shares = (_words(keys, count) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        self._used = 0

    def between(self, low: float, high: float) -> np.ndarray:
        """One number an image, in [low, high): (n, 1, 1) float32."""
        share = self._shares[:, self._used]
        self._used += 1
        return (np.float32(low) + share * np.float32(high - low))[:, None, None]

    def color(self, low: float, high: float) -> np.ndarray:
        """One number an image and channel: (n, 1, 1, 3) float32."""
        return np.stack([self.between(low, high) for _ in range(3)], axis=-1)


# ---------------------------------------------------------------- images


def _draw(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Images (n, 32, 32, 3) uint8: a textured background, pieces of clutter, the shape, noise over all of it."""
    chance = _Chance(keys, 80)
    ground = chance.color(*_GROUND)
    image = ground + _texture(chance)
    for _ in range(3):
        image = _paint(image, _clutter(chance), _ink(chance, ground, _CLUTTER))
    cover = _shape(chance, labels)
    image = _paint(image, cover, _ink(chance, ground, _CONTRAST) + _texture(chance))
    image += _noise(keys, len(labels)) * chance.between(*_NOISE)[..., None]
    return np.clip(image + np.float32(0.5), 0, 255).astype(np.uint8)


def _paint(image: np.ndarray, cover: np.ndarray, ink: np.ndarray) -> np.ndarray:
    return image + cover[..., None] * (ink - image)


def _ink(chance: _Chance, ground: np.ndarray, contrast: tuple[float, float]) -> np.ndarray:
    """A colour (n, 1, 1, 3) that differs from the ground, brighter or darker, in each channel by another amount."""
    amount = chance.between(*contrast)[..., None] * chance.color(0.3, 1.0)
    sign = np.where(chance.between(0, 255)[..., None] > ground, np.float32(1), np.float32(-1))
    return ground + sign * amount


def _texture(chance: _Chance) -> np.ndarray:
    """A gradient and stripes in random directions, added to a colour: (n, 32, 32, 3)."""
    along, _ = _turned(chance)
    slope = chance.color(-_SLOPE, _SLOPE) * along[..., None]
    across, _ = _turned(chance)
    phase = across / chance.between(3, 12) + chance.between(0, 1)
    wave = np.abs(phase - np.floor(phase) - np.float32(0.5)) * np.float32(4) - np.float32(1)
    return slope + chance.color(0, _STRIPES) * wave[..., None]


def _clutter(chance: _Chance) -> np.ndarray:
    """A small bar anywhere: cover (n, 32, 32)."""
    across, down = _turned(chance, reach=15)
    return _cover(_box(across, down, chance.between(1, 5), chance.between(0.5, 1.5)))


def _shape(chance: _Chance, labels: np.ndarray) -> np.ndarray:
    """The image's shape: cover (n, 32, 32), 1 inside, 0 outside, between on the edge."""
    across, down = _turned(chance, reach=_REACH, tilt=_TILT)
    radius = chance.between(*_RADIUS)
    stretch = chance.between(0.85, 1.15)
    across, down = across / (radius * stretch), down / (radius / stretch)
    distance = np.empty_like(across)
    for label, outline in enumerate(SHAPES.values()):
        chosen = labels == label
        distance[chosen] = outline(across[chosen], down[chosen])
    return _cover(distance * radius)


def _cover(distance: np.ndarray) -> np.ndarray:
    """Share of each pixel that lies inside, from the distance to the edge in pixels (negative inside)."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _noise(keys: np.ndarray, n: int) -> np.ndarray:
    """One independent number a pixel and channel, triangular between -255 and 255: (n, 32, 32, 3)."""
    count = SIDE * SIDE * 3 * 2 // 8  # two bytes for each number, eight in a word
    words = _words(_mix(keys), count).astype("<u8", copy=False)
    octets = words.view(np.uint8).reshape(n, SIDE, SIDE, 3, 2).astype(np.float32)
    return octets[..., 0] - octets[..., 1]


def _turned(chance: _Chance, reach: float = 0, tilt: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates from a point within `reach` of the middle, in axes turned at random: two (n, 32, 32)."""
    turn = (chance.between(1 - tilt, 1 + tilt)[:, 0, 0] * np.float32(_DIRECTIONS)).astype(np.int64) % _DIRECTIONS
    sine = _SINES[turn][:, None, None]
    cosine = _SINES[(turn + _DIRECTIONS // 4) % _DIRECTIONS][:, None, None]
    pixels = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)
    across = pixels[None, None, :] - chance.between(-reach, reach)
    down = pixels[None, :, None] - chance.between(-reach, reach)
    return across * cosine + down * sine, down * cosine - across * sine


# ---------------------------------------------------------------- outlines
# Each takes coordinates in units of the radius and gives a distance to the edge, negative inside.


def _circle(x: np.ndarray, y: np.ndarray, radius: float = 0.85) -> np.ndarray:
    return np.sqrt(x * x + y * y) - np.float32(radius)


def _box(x: np.ndarray, y: np.ndarray, half_width: float | np.ndarray, half_height: float | np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x) - np.float32(half_width), np.abs(y) - np.float32(half_height))


def _sides(x: np.ndarray, y: np.ndarray, count: int) -> list[np.ndarray]:
    """Distance beyond each of `count` sides around the middle, the first one above it."""
    turns = [round(k * _DIRECTIONS / count) for k in range(count)]
    return [x * np.float32(_sine(turn)) - y * np.float32(_sine(turn + _DIRECTIONS // 4)) for turn in turns]


def _polygon(x: np.ndarray, y: np.ndarray, count: int, inner_radius: float) -> np.ndarray:
    return np.maximum.reduce(_sides(x, y, count)) - np.float32(inner_radius)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inside at least four of five sides: the second largest of the five distances."""
    largest = second = np.full_like(x, -9)
    for side in _sides(x, y, 5):
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return second - np.float32(0.36)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, 0.92, 0.3), _box(x, y, 0.3, 0.92))


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(_circle(x, y, 0.66)) - np.float32(0.24)


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_circle(x + np.float32(0.1), y, 0.92), -_circle(x - np.float32(0.34), y, 0.72))


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two discs on the upper sides of a square that stands on its corner."""
    x, y = np.abs(x), y + np.float32(0.05)
    square = (x + np.abs(y)) * np.float32(0.70703125) - np.float32(0.53)
    return np.minimum(square, _circle(x - np.float32(0.375), y + np.float32(0.375), 0.53))


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half of a square that stands on its corner, on a bar."""
    head = np.maximum(-y, (np.abs(x) + y) * np.float32(0.70703125) - np.float32(0.65))
    return np.minimum(head, _box(x, y + np.float32(0.45), 0.24, 0.5))


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": lambda x, y: _box(x, y, 0.74, 0.74),
    "triangle": lambda x, y: _polygon(x, y, 3, 0.48),
    "hexagon": lambda x, y: _polygon(x, y, 6, 0.8),
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
}
CLASS_NAMES = tuple(SHAPES)
