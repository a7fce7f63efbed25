"""Folders in the temporary folder that are gone when their run is: what killed runs left there is swept."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_PREFIX = "bakeoff-run-"
_NEW_SECONDS = 1.0  # a folder so young may not be locked yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that only this user can open, removed after the block; killed runs' folders are removed before.

    It is locked while its run lives: the system frees the lock, whatever ends the run.
    """
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # where there are no locks, nothing is swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def claim(name: str) -> tuple[Path, int | None]:
    """The folder of this name that several processes of this user share, and a descriptor that holds it.

    The descriptor is None where another process holds it. The folder stays until a later run sweeps it.
    """
    return _hold(name, fcntl.LOCK_EX)


def _hold(name: str, kind: int) -> tuple[Path, int | None]:
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{name}"
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # swept just now
            continue
        if os.fstat(descriptor).st_uid != os.getuid():
            os.close(descriptor)
            raise PermissionError(f"{folder} belongs to another user")
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return folder, None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return folder, descriptor
        os.close(descriptor)


@cache
def common_folder(name: str) -> Path:
    """The folder of this name that several processes of this user use at once, this one from now until it ends.

    It stays after the last of them until a later run sweeps it.
    """
    while (held := _hold(name, fcntl.LOCK_SH))[1] is None:  # somebody looks whether it is used
        time.sleep(0.01)
    return held[0]


def sweep(place: Path) -> None:
    """Remove the folders of this user's runs in `place` that no run holds any more."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            known = folder.lstat()
            if known.st_uid != os.getuid() or time.time() - known.st_mtime < _NEW_SECONDS:
                continue
            with _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # a run holds it, another run has just swept it, or it is no folder
            continue


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
