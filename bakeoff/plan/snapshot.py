"""The code that a run executes: a copy of notebooks and lab as they were when its plan was made, by their digest.

So the code that was digested is the code that runs, whatever is edited meanwhile.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from bakeoff.store import Store, digest_value

FOLDER = "code"  # of a store
# What a kernel reads of the project: the notebook, and what it imports.
_COPIED = ("notebooks/*.ipynb", "bakeoff/__init__.py", "bakeoff/interactive.py", "bakeoff/lab/**/*.py")


def take_snapshot(store: Store, project: Path, more: Mapping[str, bytes] = MappingProxyType({})) -> Path:
    """The folder of a copy of the project's code in the store, made where there is none of these very bytes.

    `more`: further files of the copy, such as networks from outside the project.
    """
    files = _files(project) | dict(more)
    folder = store.root.resolve() / FOLDER / _name(files)
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.{platform.node()}.{os.getpid()}.partial")
    for path, content in files.items():
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        (partial / path).write_bytes(content)
    with suppress(OSError):  # another run has just put it there
        partial.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return folder


def current(folders: Iterable[Path], project: Path, more: Mapping[str, bytes]) -> list[Path]:
    """Those snapshots that hold the project's code as it is now, with none or some of the further files `more`."""
    now, found = _files(project), []
    for folder in folders:
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        if folder.name == _name(now | {path: content for path, content in more.items() if path in there}):
            found.append(folder)
    return found


def _files(project: Path) -> dict[str, bytes]:
    paths = sorted(path for pattern in _COPIED for path in project.glob(pattern))
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


def _name(files: Mapping[str, bytes]) -> str:
    return digest_value({path: content.hex() for path, content in files.items()})[:32]
