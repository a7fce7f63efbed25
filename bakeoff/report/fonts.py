"""Fonts for the PDF: matplotlib's, and installed ones for signs that those lack."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unicodedata import category

# Typst brings Libertinus, New Computer Modern and DejaVu Sans Mono; matplotlib has what they lack.
_OWN = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "LastResortHE-Regular.ttf")


def copy_fonts(target: Path) -> None:
    """matplotlib's fonts that we use, in a folder of their own: its others would change which one is chosen."""
    target.mkdir()
    found = find_spec("matplotlib")
    for place in (found.submodule_search_locations or []) if found else []:
        for name in _OWN:
            font = Path(place, "mpl-data", "fonts", "ttf", name)
            if font.is_file():
                shutil.copyfile(font, target / name)


def add_installed(text: str, target: Path) -> list[str]:
    """Add fonts of this system for signs of the text that those in `target` lack; returns their families.

    Signs that no font has are left to the last one, which draws a box for each.
    """
    signs = {ord(sign) for sign in set(text) if ord(sign) > 127 and category(sign) not in ("Cc", "Cf", "Cs", "Zs")}
    missing = signs - _signs(str(target / _OWN[0]))[1]
    families = []
    for path in _installed() if missing else ():
        family, has = _signs(path)
        if not missing & has:
            continue
        with suppress(OSError):
            shutil.copyfile(path, target / Path(path).name)
            families.append(family)
            missing -= has
        if not missing:
            break
    return families


def _installed() -> Iterable[str]:
    """Paths of the system's fonts, those without serifs first, always in one order."""
    from matplotlib.font_manager import findSystemFonts

    return sorted(set(findSystemFonts()), key=lambda path: ("Sans" not in Path(path).name, Path(path).name, path))


@cache
def _signs(path: str) -> tuple[str, frozenset[int]]:
    """A font's family and the code points of its signs; none where it cannot be read or has no outlines."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return font.family_name, frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return "", frozenset()
