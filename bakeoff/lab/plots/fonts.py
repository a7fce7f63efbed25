"""A font for every sign of a figure: what matplotlib's own lacks is looked for among those that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from unicodedata import category

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

_UNSEEN = {"\ufe0e", "\ufe0f"}  # they change their neighbours and show nothing


def fit(figure: Figure) -> str:
    """Give each text of the figure a font for what the default one lacks; returns the signs that no font has."""
    missing: set[str] = set()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        lacking = _lacking(font_manager.findfont(text.get_fontproperties()), text.get_text())
        if not lacking:
            continue
        found = {sign: _family_with(sign) for sign in sorted(lacking)}
        more = dict.fromkeys(family for family in found.values() if family)
        text.set_fontfamily([*text.get_fontfamily(), *more])
        missing |= {sign for sign, family in found.items() if family is None}
    return "".join(sorted(missing))


def _lacking(path: str, words: str) -> set[str]:
    signs = {sign for sign in words if not sign.isspace() and category(sign) not in ("Cc", "Cf", "Cs")}
    return {sign for sign in signs - _UNSEEN if ord(sign) not in _signs(path)}


@cache
def _family_with(sign: str) -> str | None:
    """The family of an installed font that has the sign, upright and regular ones before others."""
    known = font_manager.fontManager.ttflist
    return _first_with(sign, known) or _first_with(sign, known[_add_new_fonts() :])


def _first_with(sign: str, entries: Sequence[font_manager.FontEntry]) -> str | None:
    found = (entry.name for entry in sorted(entries, key=_rank) if ord(sign) in _signs(entry.fname))
    return next(found, None)


@cache
def _add_new_fonts() -> int:
    """Add the fonts that were installed since matplotlib wrote its list; how many there were before."""
    listed = font_manager.fontManager.ttflist
    before, known = len(listed), {entry.fname for entry in listed}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        with suppress(OSError, RuntimeError):  # no font, or one without outlines
            font_manager.fontManager.addfont(path)
    return before


def _rank(entry: font_manager.FontEntry) -> tuple[bool, bool, bool, str, str]:
    kinds = entry.style != "normal", str(entry.weight) not in ("400", "normal", "regular")
    return *kinds, "Sans" not in entry.name, entry.name, Path(entry.fname).name


@cache
def _signs(path: str) -> frozenset[int]:
    """Code points of a font's signs; none where it cannot be read, or has bitmaps in place of outlines."""
    try:
        font = FT2Font(path)
        # The first has a box for every sign there is; the others call formulas' signs by the names of letters.
        of_no_use = font.family_name.startswith(("Last Resort", "cm", "STIX"))
        return frozenset(font.get_charmap()) if font.scalable and not of_no_use else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
