"""Numbers and names in sentences, the same on every page."""

from __future__ import annotations

import math
from collections.abc import Iterable

LONGEST_NAME = 20
ACCURACY_DECIMALS = 6


def short(name: object, most: int = LONGEST_NAME) -> str:
    """A name that fits beside a picture, and that matplotlib does not read as a formula."""
    text = str(name).replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"


def points(share: float, other: float) -> float:
    """A share less another one in percentage points, as a reader gets it from the two percentages that are printed."""
    return round(_one_decimal(share) - _one_decimal(other), 1)


def _one_decimal(share: float) -> float:
    return float(percent(share).removesuffix(" %"))


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage, or "not measured"."""
    if share is None or math.isnan(share):
        return "not measured"
    return f"{100 * round(share, ACCURACY_DECIMALS):.{digits}f} %"  # one number, be it stored as float32 or as text


def whole(number: float) -> str:
    """A count in groups of three digits; empty when unknown."""
    return "" if math.isnan(number) else f"{number:,.0f}".replace(",", " ")


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the plural where it must be."""
    return f"{whole(number)} {noun if number == 1 else plural or f'{noun}s'}"


def listed(names: Iterable[str], most: int = 0) -> str:
    """ "a, b and c"; of more than `most` (0: any number) the first."""
    each = [str(name) for name in names]
    if most and len(each) > most:
        return f"{', '.join(each[:most])} and {len(each) - most} more"
    return f"{', '.join(each[:-1])} and {each[-1]}" if len(each) > 1 else "".join(each)


def duration(seconds: float) -> str:
    """Seconds in the unit that a reader would say; empty when unknown."""
    if math.isnan(seconds):
        return ""
    for limit, unit, size in ((1, "ms", 0.001), (120, "s", 1.0), (7200, "min", 60.0)):
        if seconds < limit:
            return f"{seconds / size:.{0 if seconds / size >= 10 else 1}f} {unit}"
    return f"{seconds / 3600:.1f} h"
