"""Random streams: each purpose has one of its own, so that no two draws of a training share bits."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A generator of random numbers that depends on exactly these arguments.

    `purpose` is what is drawn, in words ("shuffle"); `numbers` tell draws for it apart, such as the epoch. NumPy's own
    `default_rng([seed, epoch])` equals `default_rng([seed, epoch, 0])`; here every difference gives another stream.
    """
    return np.random.default_rng(int.from_bytes(_digest(seed, purpose, *numbers)))


def coin(seed: int, purpose: str, name: str | int) -> bool:
    """Heads or tails for one named thing, the same whatever else is drawn."""
    return bool(_digest(seed, purpose, name)[0] & 1)


def _digest(seed: int, purpose: str, *names: str | int) -> bytes:
    plain = [int(seed), purpose, *(name if isinstance(name, str) else int(name) for name in names)]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).digest()
