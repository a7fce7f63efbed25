"""Where a run makes its steps before they are published, and what runs that are gone have left there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.store import Store, host_name, unique_name
from bakeoff.store.locks import try_lock

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK_SECONDS = 10.0  # somebody who looks whether the run lives holds its lock for a moment
_STRANGE_SECONDS = 86400.0  # what another host left counts as left when nothing was done in it for so long


@dataclass
class Staging:
    """One run's folder, runs/.staging/<host>_<process>_<random>/; its lock says that the run lives."""

    store: Store
    folder: Path = field(init=False)
    _lock: FileLock | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        self.folder = self.store.staging / unique_name()

    def open(self) -> None:
        """Make the folder, after its lock; clear away what dead runs of this machine have left."""
        self._lock = try_lock(_lock_of(self.folder), _LOCK_SECONDS)
        self.folder.mkdir(parents=True)
        for folder in left_behind(self.store):
            remove(folder)

    def close(self) -> None:
        """Remove the folder, then its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            _lock_of(self.folder).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def step(self, stage: str, key: str) -> Path:
        """A new folder to make a step in."""
        self._count += 1
        folder = self.folder / f"{stage}-{key[:16]}-{self._count}"
        folder.mkdir()
        return folder


def running(store: Store) -> list[Path]:
    """The folders of the runs on this store that live."""
    return [folder for folder in _folders(store) if _lives(folder)]


def left_behind(store: Store, everywhere: bool = False) -> Iterator[Path]:
    """The folders of runs of this machine that are dead; `everywhere`: of other machines, too, if long untouched."""
    for folder in _folders(store):
        here = folder.name.rsplit("_", 2)[0] == host_name()
        if (here or (everywhere and _untouched(folder))) and not _lives(folder):
            yield folder


def remove(folder: Path) -> None:
    """Clear away the folder of a dead run."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def unseen(folder: Path) -> str:
    """In words, what does not hold here of the folder of a run that lives, on any machine; nothing where all does.

    That is: the folder is seen, the run's lock is seen, and a folder changes its name in one move.
    """
    if not folder.is_dir():
        return f"does not see {folder}; share the folder of --runs-dir with it, under the same path"
    if not _lives(folder):
        return f"does not see the lock that this run holds in {folder.parent}; mount that folder with locks"
    before, after = folder / unique_name(), folder / unique_name()
    try:
        before.mkdir()
        (before / "whole").write_text("whole", encoding="utf-8")
        before.rename(after)
        whole = (after / "whole").read_text(encoding="utf-8") == "whole" and not before.exists()
    except OSError as error:
        return f"cannot make and rename folders in {folder}: {error.strerror or error}"
    finally:
        for each in (before, after):
            shutil.rmtree(each, ignore_errors=True)
    return "" if whole else f"does not rename folders in {folder} in one move; use another file system"


def _folders(store: Store) -> list[Path]:
    there = store.staging
    return sorted(each for each in there.iterdir() if each.suffix != ".lock") if there.is_dir() else []


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _lives(folder: Path) -> bool:
    if not _lock_of(folder).is_file():
        return False
    lock = try_lock(_lock_of(folder))
    if lock is not None:
        lock.release()
    return lock is None


def _untouched(folder: Path) -> bool:
    try:
        newest = max(path.lstat().st_mtime for path in [folder, *folder.rglob("*")])
    except OSError:
        return False
    return time.time() - newest > _STRANGE_SECONDS
