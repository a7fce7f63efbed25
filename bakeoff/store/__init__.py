"""Where a step's files live: runs/<stage>/<result key>/, put there whole in one move. Builds all paths."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.store.digests import DigestCache, cache_path

MANIFEST = "step.json"
NOTEBOOK = "notebook.ipynb"
_CWD, _RENAME_EXCHANGE = -100, 2  # of Linux' renameat2
_UNSEALED = "0" * 64
# How manifests begin, and how they did before they carried their own digest.
_SEAL, _WITHOUT_SEAL = '{\n "digest": "', '{\n "page_key": "'


def host_name() -> str:
    """This machine's name, in letters that a file's name may have."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())


def unique_name() -> str:
    """A name that no other process takes, on this machine or another: host, process and a random part."""
    return f"{host_name()}_{os.getpid()}_{secrets.token_hex(4)}"


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary name beside `path`, flush to disk, rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{unique_name()}.partial")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:  # the same bytes on every system
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


def digest_folder(folder: Path) -> dict[str, tuple[str, int]]:
    """Digest and size of every file below a folder, by its path from there; of step.json nothing."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): (digest_file(path), path.stat().st_size) for path in files}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write step.json with the digest of its own text, so that no bit of it can change unseen."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps({"digest": _UNSEALED, **rest}, indent=1, default=str)
    seal = hashlib.sha256(text.encode()).hexdigest()
    write_atomically(folder / MANIFEST, text.replace(_UNSEALED, seal, 1))


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """What a step.json says; None when it cannot be read or is not as it was written."""
    try:
        text = path.read_text(encoding="utf-8")
        manifest = dict(json.loads(text))
        if text.startswith(_WITHOUT_SEAL):
            return manifest
        unsealed = text.replace(manifest["digest"], _UNSEALED, 1)
        whole = text.startswith(_SEAL) and hashlib.sha256(unsealed.encode()).hexdigest() == manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole else None


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

    def checkpoint(self, stage: str, key: str) -> Path:
        """Where a step that is being made keeps what it goes on from when it is cut short."""
        return self.root / "checkpoints" / f"{stage}-{key[:32]}"

    def failed(self, stage: str, key: str) -> Path:
        """Where the notebook of an execution that failed is kept."""
        return self.root / "failed" / f"{stage}-{key[:32]}.ipynb"

    @property
    def staging(self) -> Path:
        """Where runs make steps before they publish them, each in a folder of its own."""
        return self.root / ".staging"

    def shared(self, key_inputs: Mapping[str, Any]) -> Path:
        """Where steps keep what others can use that have the same packages, settings and lab code."""
        code = {name: digest for name, digest in key_inputs["code"].items() if name != "notebook"}
        return self.root / "shared" / digest_value([key_inputs["versions"], key_inputs["settings"], code])[:16]

    def compiled(self, processor: str) -> Path:
        """Where JAX keeps the programs that it has compiled, which other kernels then load."""
        return self.root.resolve() / "compiled" / digest_value(processor)[:16]

    def digests(self) -> DigestCache:
        """Digests of files, remembered between runs."""
        return DigestCache(cache_path(self.root))

    def read_manifest(self, stage: str, key: str) -> dict[str, Any] | None:
        """What step.json says, whether or not the files beside it are still as it says.

        None when it cannot be read or is not as it was written.
        """
        return _read_manifest(self.folder(stage, key) / MANIFEST)

    def complete_manifest(self, stage: str, key: str) -> dict[str, Any] | None:
        """The step's step.json when the step is complete and its files have the recorded sizes, else None."""
        folder, manifest = self.folder(stage, key), self.read_manifest(stage, key)
        if manifest is None:
            return None
        try:
            place = os.fspath(folder)  # a store may have thousands of steps: paths as text take a third of the time
            sizes = {name: os.stat(f"{place}/{name}").st_size for name in manifest["files"]}  # noqa: PTH116
            whole = all(sizes[name] == size for name, (_, size) in manifest["files"].items())
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

    def publish(self, staged: Path, stage: str, key: str, replace: bool = False) -> bool:
        """Move a step that was made in the folder `staged`, with its step.json, to its place: now it exists.

        A step that is complete there stays, unless `replace`, and the result is False. No reader finds the place
        empty meanwhile: the two folders change places.
        """
        target = self.folder(stage, key)
        if not replace and self.complete_manifest(stage, key) is not None:
            self.discard(staged)
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(target)  # where nothing is yet
        except OSError:
            if not target.is_dir():
                raise
            self.discard(exchange(staged, target))
        return True

    def discard(self, folder: Path) -> None:
        """Remove a folder or a file of the store: first from its place, in one move, then from the disk."""
        self.staging.mkdir(parents=True, exist_ok=True)
        gone = self.staging / unique_name()  # whoever finds it there clears it away
        try:
            folder.rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True) if gone.is_dir() else gone.unlink(missing_ok=True)


def exchange(one: Path, other: Path) -> Path:
    """Put the folder `one` in the place of the folder `other`; returns where the other one is now."""
    if _exchange_at_once(one, other):
        return one
    aside = one.with_name(unique_name())
    other.rename(aside)
    one.rename(other)
    return aside


def _exchange_at_once(one: Path, other: Path) -> bool:
    """Whether the system could let two folders change places in one move: Linux can, on most file systems."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(_CWD, os.fsencode(one), _CWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
