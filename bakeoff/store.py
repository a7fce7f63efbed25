"""Where a step's files live: runs/<stage>/<result key>/, with step.json as the last file written. Builds all paths."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.digests import DigestCache, cache_path

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

    def shared(self, key_inputs: Mapping[str, Any]) -> Path:
        """Where steps keep what others can use that have the same packages, settings and lab code."""
        code = {name: digest for name, digest in key_inputs["code"].items() if name != "notebook"}
        return self.root / "shared" / digest_value([key_inputs["versions"], key_inputs["settings"], code])[:16]

    def digests(self) -> DigestCache:
        """Digests of files, remembered between runs."""
        return DigestCache(cache_path(self.root))

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

    def first_bad_file(
        self, stage: str, key: str, largest: float = math.inf, digests: DigestCache | None = None
    ) -> str | None:
        """The name of the first file whose bytes are not the recorded ones; None when all are.

        Files of more than `largest` bytes are passed over. With `digests`, a file version is read once and no more.
        """
        manifest = self.complete_manifest(stage, key)
        if manifest is None:
            return MANIFEST
        folder = self.folder(stage, key)
        files = {name: digest for name, (digest, size) in manifest["files"].items() if size <= largest}
        for name, digest in files.items():
            path = folder / name
            if (digests.recall(path, "sha256", digest_file) if digests else digest_file(path)) != digest:
                return name
        return None

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
