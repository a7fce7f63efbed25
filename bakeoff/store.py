"""Where a step's files live: runs/<stage>/<result key>/, with step.json as the last file written. Builds all paths."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "step.json"
NOTEBOOK = "notebook.ipynb"
_PARTIAL = ".partial"


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary name beside `path`, flush to disk, rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 of a value's JSON text with sorted names: the same for equal values everywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def missing_or_cut(path: Path, size: int) -> str | None:
    """In words, that a file is gone or has not `size` bytes; None when it has."""
    if not path.is_file():
        return f"{path} is gone"
    there = path.stat().st_size
    return None if there == size else f"{path} has {there} bytes, not {size}"


@dataclass
class Memory:
    """What was worked out from a file, remembered by the file's path, size and date; kept in one JSON file."""

    path: Path
    _known: dict[str, list[Any]] = field(default_factory=dict)
    _changed: bool = False

    def __post_init__(self) -> None:
        try:
            self._known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def recall(self, file: Path, purpose: str, work: Callable[[Path], Any]) -> Any:
        """`work(file)`, or what it gave when the file had the same size and date."""
        stat = file.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        key = f"{purpose}:{file.resolve()}"
        known = self._known.get(key)
        if known and known[:2] == stamp:
            return known[2]
        result = work(file)
        self._known[key] = [*stamp, result]
        self._changed = True
        return result

    def save(self) -> None:
        """Write what is new. A folder that cannot be written costs time at the next start, nothing else."""
        if self._changed:
            try:
                write_atomically(self.path, json.dumps(self._known))
            except OSError:
                return
            self._changed = False


@dataclass(frozen=True)
class Store:
    """The steps that were made, below one folder."""

    root: Path

    def folder(self, stage: str, key: str) -> Path:
        """Where a step's files are or will be."""
        return self.root / stage / key[:32]

    def lock(self, stage: str, key: str) -> Path:
        """The file whose lock says that a run is making a step."""
        return self.root / "locks" / f"{stage}-{key[:32]}.lock"

    def shared(self, parts: Mapping[str, Any]) -> Path:
        """Where steps keep what others can use that have the same packages and settings that change numbers."""
        return self.root / "shared" / digest_value([parts["versions"], parts["settings"]])[:16]

    def memory(self) -> Memory:
        """Digests of files, remembered between runs."""
        return Memory(self.root / "digests.json")

    def read_manifest(self, stage: str, key: str) -> dict[str, Any] | None:
        """What step.json says, whether or not the files beside it are still as it says; None when it cannot be read."""
        try:
            record = json.loads((self.folder(stage, key) / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def complete_manifest(self, stage: str, key: str) -> dict[str, Any] | None:
        """The step's step.json when the step is complete and its files have the recorded sizes, else None."""
        folder, manifest = self.folder(stage, key), self.read_manifest(stage, key)
        if manifest is None:
            return None
        try:
            whole = all((folder / name).stat().st_size == size for name, (_, size) in manifest["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return manifest if whole and manifest.get("result_key") == key else None

    def first_bad_file(self, stage: str, key: str, largest: float = math.inf) -> str | None:
        """The name of the first file whose bytes are not the recorded ones; None when all are.

        Files of more than `largest` bytes are passed over.
        """
        manifest = self.complete_manifest(stage, key)
        if manifest is None:
            return MANIFEST
        folder = self.folder(stage, key)
        files = {name: digest for name, (digest, size) in manifest["files"].items() if size <= largest}
        return next((name for name, digest in files.items() if digest_file(folder / name) != digest), None)

    def commit(self, stage: str, key: str, manifest: Mapping[str, Any]) -> None:
        """Record every file of the step with digest and size, then write step.json: from here on the step exists."""
        folder = self.folder(stage, key)
        files = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != MANIFEST and not path.name.endswith(_PARTIAL):
                files[path.relative_to(folder).as_posix()] = (digest_file(path), path.stat().st_size)
        record = {**manifest, "stage": stage, "result_key": key, "files": files}
        write_atomically(folder / MANIFEST, json.dumps(record, indent=1, default=str))

    def remove(self, stage: str, key: str) -> None:
        """Forget a step: step.json first, so that a removal cut short leaves no step that looks whole."""
        folder = self.folder(stage, key)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
