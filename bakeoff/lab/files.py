"""Reading and writing a stage's files, so that a file is either whole or not there.

Every file is written under a temporary name in the same folder and then put in its place in one move;
a full disk, an error or a killed process leaves the previous file as it was.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import socket
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; move it to `path` when the block ends well.

    The folder is made if need be. When the block raises, `path` stays untouched and the temporary file goes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{_unique()}.partial{path.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _unique() -> str:
    """Host, process and a random part: machines that share a folder have equal process numbers."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON; numbers that JSON lacks (NaN, infinity) become null."""
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    return dict(json.loads(Path(path).read_text(encoding="utf-8")))


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as `read_json` gives it after `write_json`."""
    return dict(json.loads(json.dumps(_plain(content))))


ARGUMENTS = "arguments.json"  # in a stage's folder: what its files were made with


def claim(folder: str | Path, arguments: Mapping[str, Any], made: Sequence[str]) -> None:
    """Keep in `folder` what its files are made with; first remove those named `made` that were made otherwise.

    So a function that finds its files in `folder` has made them with the arguments of this very call.
    """
    folder = Path(folder)
    plain = as_json(arguments)
    kept = folder / ARGUMENTS
    if kept.is_file():
        if read_json(kept) == plain:
            return
        for path in (folder / name for name in made):
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
    write_json(kept, plain)


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table without its index; floats keep all their digits."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy, which `np.load(path, mmap_mode="r")` opens without reading it."""
    with replacing(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Write named arrays as one .npz, uncompressed; equal arrays give equal bytes. Raises ValueError for objects."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:  # numpy would pickle them, and nothing here reads a pickle
            raise ValueError(f"{name} holds objects, not numbers or text")
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def read_npz_if_whole(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz; none where it is not there or not as it was written, which its checksums tell."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}


def _flush_to_disk(path: Path) -> None:
    """Have the contents on the disk before the name points to them; a folder is left to the system."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    """`value` in the types that JSON knows: numpy numbers and arrays, tuples and paths are turned into them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
