"""One size for images of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

LARGEST_SIDE = 256  # pixels, of images that are resized: what Keras' own image loader makes of a side

Size = tuple[int, int]  # height, width


def common_size(sizes: Sequence[Size], always: bool = False) -> Size:
    """The size that all images are given: the one of half of them or more, else the median of either side.

    No side is longer than LARGEST_SIDE, where images are resized at all: `always`, or when there are several sizes.
    """
    (height, width), times = Counter(sizes).most_common(1)[0]
    if times == len(sizes) and not always:
        return height, width
    sides = (height, width) if 2 * times >= len(sizes) else np.median(sizes, axis=0).tolist()
    scale = min(1.0, LARGEST_SIDE / max(sides))
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def resized_note(count: int, role: str, size: Size | None) -> list[str]:
    """A sentence on the images that were resized, if any were."""
    if not count or not size:
        return []
    which = {"train": "training"}.get(role, role)
    return [f"{count} {which} images of other sizes were resized to {size[0]} x {size[1]} pixels."]
