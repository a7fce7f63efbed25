"""Which images a folder, a .zip or a .csv holds, and of which class: by subfolders, or by the lines of a table."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
# What a folder of a split may be called -> the split.
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


@dataclass(frozen=True)
class Item:
    """An image: its name in the folder or archive, its split and its class."""

    name: str
    split: str
    label: str


@dataclass
class Listing:
    """What a folder, an archive or a table says of its images.

    classes: those that have a place, with images or without. notes: what a reader must know.
    """

    items: list[Item]
    classes: set[str]
    notes: list[str]


class Files:
    """The files below a folder, or in a .zip: names with "/" between their parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = None if path.is_dir() else _archive(path)

    def names(self) -> tuple[list[str], list[str]]:
        """Files and folders, sorted; none that is hidden."""
        if self._archive:
            every = self._archive.namelist()
            folders = {f"{parent}" for name in every for parent in PurePosixPath(name).parents}
            folders |= {name.rstrip("/") for name in every if name.endswith("/")}
            files = {name for name in every if not name.endswith("/")}
        else:
            files, folders = set(), set()
            for place, below, inside in os.walk(self.path):
                here = Path(place).relative_to(self.path).as_posix()
                files |= {str(PurePosixPath(here, name)) for name in inside}
                folders |= {str(PurePosixPath(here, name)) for name in below}
        return sorted(filter(_shown, files)), sorted(name for name in folders if name != "." and _shown(name))

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return self._archive.read(name) if self._archive else (self.path / name).read_bytes()


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):
        raise ValueError(f"{path.name} is damaged, or no .zip file; pack it again.") from None


def _shown(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def read_folders(what: str, files: Files) -> Listing:
    """A subfolder a class, or train and test with a subfolder a class each; one folder around all of it is left out."""
    names, folders = files.names()
    images = [name for name in names if name.lower().endswith(SUFFIXES)]
    if not images:
        raise ValueError(f"{what} has no image ({', '.join(SUFFIXES)}) in a folder of its class.")
    top = _common_top([PurePosixPath(name).parts for name in images])
    parts = {name: PurePosixPath(name).parts[len(top) :] for name in [*images, *folders]}
    split_of = _split_names({parts[name][0] for name in images})
    depth = 2 if split_of else 1
    loose = next((name for name in images if len(parts[name]) <= depth), None)
    if loose:
        raise ValueError(f"{loose} lies in no folder of a class; move it into that of its class.")
    inside = [parts[name] for name in folders if PurePosixPath(name).parts[: len(top)] == top]
    classes = {each[depth - 1] for each in inside if len(each) >= depth and (not split_of or each[0] in split_of)}
    items = [Item(name, split_of.get(parts[name][0], "train"), parts[name][depth - 1]) for name in images]
    return Listing(items, classes, _other_files(names, images))


def _common_top(every: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The folder around the folders of classes or splits, where there is one, as archives often have it."""
    every = list(every)
    first = {each[0] for each in every}
    if len(first) == 1 and all(len(each) > 2 for each in every) and not first & set(_SPLITS):
        return tuple(first)
    return ()


def _split_names(first: set[str]) -> dict[str, str]:
    """Folder -> split, where the folders are those of splits."""
    named = {name: _SPLITS[name.lower()] for name in first if name.lower() in _SPLITS}
    if "train" not in named.values() or (len(named) == 1 < len(first)):
        return {}
    if len(named) < len(first):
        other = sorted(first - set(named))[0]
        raise ValueError(f"beside {' and '.join(sorted(named))} lies {other}, which is no split; move it elsewhere.")
    return named


def _other_files(names: Sequence[str], images: Sequence[str]) -> list[str]:
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in set(names) - set(images))
    if not kinds:
        return []
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [f"Files that are not read as images: {listed}."]


# ---------------------------------------------------------------- tables


def read_table(path: Path, files: Files) -> Listing:
    """A .csv with the columns image and label, and perhaps split; images are named from its folder on."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text in UTF-8; save it as CSV UTF-8.") from None
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    header, items = rows[0] if rows else [], list[Item]()
    if len(header) not in (2, 3) or (len(header) == 3 and header[2].strip().lower() != "split"):
        raise ValueError(
            f"{path.name} has the columns {', '.join(header) or 'none'}; it must have two, image and label, and "
            "may have a third, split."
        )
    seen: dict[str, int] = {}
    for line, row in enumerate(rows[1:], 2):
        if row:
            items.append(_row(f"{path.name}, line {line}", row, len(header), files))
            first = seen.setdefault(items[-1].name, line)
            if first != line:
                raise ValueError(
                    f"{path.name}, line {line}: {items[-1].name} is listed in line {first} already; an image has one "
                    "line, and one label."
                )
    return Listing(items, {item.label for item in items}, [])


def hub_table(name: str, data_dir: Path) -> Path:
    """The table of a data set of the Hugging Face hub, OWNER/NAME, once its images were downloaded."""
    return data_dir / "hf" / name / "labels.csv"


def _row(where: str, row: Sequence[str], columns: int, files: Files) -> Item:
    if len(row) != columns:
        raise ValueError(f"{where} has {len(row)} values where its header has {columns}; an image has one label.")
    name, label, *split = (each.strip() for each in row)
    if label in ("", "-1"):
        raise ValueError(f"{where}: {name} has no label; label it, or leave the line out.")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not files.has(name):
        raise ValueError(f"{where}: there is no file {name!r} in the folder of the table; name it from there on.")
    named = (split or ["train"])[0].lower()
    if named not in _SPLITS:
        raise ValueError(f"{where}: {split[0]!r} is no split; write train, test or validation.")
    return Item(name, _SPLITS[named], label)
