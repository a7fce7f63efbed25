"""Digests of files, worked out once a file version and remembered on this machine."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "digests.sqlite"
_BUSY_SECONDS = 10.0
# A file that changed so recently may change again within one tick of the file system's clock: not remembered.
_FRESH_NANOSECONDS = 50_000_000
# File systems of other machines: SQLite's locks and shared memory are not to be relied on there.
_NETWORK = ("nfs", "cifs", "smb", "afp", "webdav", "fuse.", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "afs")
_TABLE = (
    "create table if not exists known (purpose text, file text, stamp text, value text, primary key (purpose, file))"
)


@dataclass
class DigestCache:
    """What was worked out from files, remembered by path, size, dates and inode. Several processes may share it.

    A database that cannot be opened, read or written costs time and nothing else: what it would hold is worked out
    again.
    """

    path: Path
    _process: int = 0
    _open: sqlite3.Connection | None = field(default=None, repr=False)

    def recall(self, file: Path, purpose: str, work: Callable[[Path], Any]) -> Any:
        """`work(file)`, or what it gave for this version of the file; it must be a value that JSON can hold."""
        name, stat = str(file.absolute()), file.stat()
        stamp = _stamp(stat)
        known = self._ask("select stamp, value from known where purpose = ? and file = ?", purpose, name)
        if known and known[0] == stamp:
            return json.loads(known[1])
        result = work(file)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _FRESH_NANOSECONDS:
            self._ask("insert or replace into known values (?, ?, ?, ?)", purpose, name, stamp, json.dumps(result))
        return result

    def wrong(self, purpose: str, work: Callable[[Path], Any]) -> list[Path]:
        """The files of which something else is remembered than `work` finds now, though they have not changed since."""
        try:
            known = self._connection().execute("select file, stamp, value from known where purpose = ?", (purpose,))
            rows = known.fetchall()
        except sqlite3.DatabaseError:
            return []
        found = []
        for name, stamp, value in rows:
            with suppress(FileNotFoundError):
                path = Path(name)
                if _stamp(path.stat()) == stamp and json.dumps(work(path)) != value:
                    found.append(path)
        return found

    def _ask(self, statement: str, *values: str) -> tuple[str, str] | None:
        try:
            found: tuple[str, str] | None = self._connection().execute(statement, values).fetchone()
            return found
        except sqlite3.OperationalError:  # locked for long, or on a full or read-only disk
            return None
        except sqlite3.DatabaseError:  # not a database, or a damaged one: begin a new one
            self._forget()
            return None

    def _connection(self) -> sqlite3.Connection:
        """The open database; a forked process opens its own."""
        if self._open is None or self._process != os.getpid():
            self._open, self._process = _connect(self.path), os.getpid()
        return self._open

    def _forget(self) -> None:
        self._open = None
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()


def _stamp(stat: os.stat_result) -> str:
    """What differs between two versions of a file."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def cache_path(folder: Path) -> Path:
    """Where the digests of a store's files are remembered: beside them, or on this machine where they lie on a drive
    that other machines share.
    """
    if not _is_on_network(folder):
        return folder / NAME
    import platformdirs

    return Path(platformdirs.user_cache_dir("bakeoff", appauthor=False), platform.node() or "host", NAME)


def _connect(path: Path) -> sqlite3.Connection:
    """The database, made where it is not there; one in memory where that is not possible."""
    with suppress(OSError, sqlite3.OperationalError):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        opened.execute("pragma journal_mode = wal")
        opened.execute("pragma synchronous = off")  # what a power failure takes is worked out again
        opened.execute(_TABLE)
        return opened
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    memory.execute(_TABLE)
    return memory


def _is_on_network(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that is there, lies on another machine's drive."""
    import psutil

    place = os.path.realpath(folder)
    with suppress(OSError, RuntimeError):
        mounts = {part.mountpoint.rstrip("/"): part.fstype for part in psutil.disk_partitions(all=True)}
        above = [place, *map(str, Path(place).parents)]
        kind = next((mounts[each.rstrip("/")] for each in above if each.rstrip("/") in mounts), "")
        return kind.lower().startswith(_NETWORK)
    return False
