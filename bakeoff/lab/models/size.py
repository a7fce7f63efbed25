"""How large a network would be, found out before any memory is taken for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import psutil

BYTES = 4  # of a parameter; also of mixed precision, whose variables are float32
_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # the limit of a container, or "max"


def count_parameters(make: Callable[[], keras.Model]) -> int:
    """The parameters of the network that `make` builds, without making room for them."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            return sum(math.prod(weight.shape) for weight in make().weights)

    # In a thread of its own: what Keras remembers of networks it remembers by thread, so that nothing of this stays.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(count).result()


def require_memory(parameters: int, copies: int, what: str) -> None:
    """Raise ValueError where `copies` numbers for each of so many parameters are more than this machine's memory."""
    needed, there = parameters * BYTES * copies, memory_bytes()
    if needed > there:
        raise ValueError(
            f"{what} of {parameters:,} parameters takes {needed / 1e9:,.0f} GB, and this machine has"
            f" {there / 1e9:,.0f} GB of memory: make the network smaller, by builder_options or search_space"
        )


def memory_bytes() -> int:
    """The memory of this machine, or of the container."""
    total = int(psutil.virtual_memory().total)
    limit = _CONTAINER.read_text(encoding="ascii").strip() if _CONTAINER.is_file() else "max"
    return min(total, int(limit)) if limit.isdigit() else total
