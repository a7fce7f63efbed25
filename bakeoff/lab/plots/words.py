"""Numbers and names in sentences, the same on every page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

LONGEST_NAME = 20
_MARKUP = re.compile(r"([\\`*_{}\[\]<>&$~|#])")  # what Markdown or TeX reads as more than text
_MARKED = re.compile(r"\\([!-/:-@\[-`{-~])|\*\*|`")


def text(name: object) -> str:
    """A name as Markdown that shows it letter by letter: no markup, no tag and no formula is read from it."""
    return _MARKUP.sub(r"\\\1", " ".join(str(name).split()))


def plain(markdown: str) -> str:
    """A sentence without its marks, as captions and alternative texts need it."""
    return _MARKED.sub(lambda mark: mark[1] or "", markdown)


def short(name: object, most: int = LONGEST_NAME) -> str:
    """A name that fits beside an image, and that matplotlib does not read as a formula."""
    words = " ".join(str(name).split())
    return (words if len(words) <= most else words[: most - 1] + "…").replace("$", r"\$")


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage, or "not measured"; rounded once, from the digits that the number is written with."""
    return "not measured" if share is None or math.isnan(share) else f"{_rounded(share, digits)} %"


def points(share: float, other: float, digits: int = 1, sign: bool = False) -> str:
    """By how many percentage points `share` is above `other`: the difference of the two as `percent` prints them."""
    difference = _rounded(share, digits) - _rounded(other, digits)
    return f"{difference:+}" if sign else f"{abs(difference)}"


def _rounded(share: float, digits: int) -> Decimal:
    """In percent; of a float32 number the decimals that it has."""
    return (100 * Decimal(repr(round(float(share), 6)))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


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
    """Seconds in the unit that a reader would say; "none" for nothing that was done, empty when unknown."""
    if math.isnan(seconds):
        return ""
    if seconds == 0:
        return "none"
    for limit, unit, size in ((1, "ms", 0.001), (120, "s", 1.0), (7200, "min", 60.0)):
        if seconds < limit:
            return f"{seconds / size:.{0 if seconds / size >= 10 else 1}f} {unit}"
    return f"{seconds / 3600:.1f} h"
