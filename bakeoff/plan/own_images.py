"""Images of one's own: what the load stage would refuse, its own code refuses before anything starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError, one_line, shown
from bakeoff.plan.prepared import near_or_all
from bakeoff.store import digest_file, digest_value
from bakeoff.store.digests import DigestCache

KINDS = ("folder", "npz", "csv", "hf")  # of images of one's own: "kind:path"
TABLES = ("csv", "hf")  # of these the path is that of a table
_CHECKED = "own-images-4"  # what is remembered of a file; another number when other things are checked


@dataclass(frozen=True)
class Own:
    """Images that can be loaded. name and version: as the load stage gives them; parameter: without any folder."""

    path: Path
    name: str
    version: str
    digest: str
    class_names: tuple[str, ...]
    parameter: str
    packages: tuple[str, ...]
    image_shape: tuple[int, ...]  # height, width, channels
    train_images: int


def hub_table(wanted: str, data_dir: Path) -> Path:
    """Where the table of "hf:OWNER/NAME" lies, once its images were downloaded."""
    name = wanted.removeprefix("hf:")
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII):
        raise RequestError(f"dataset: {shown(wanted)} is no name on the Hugging Face hub; write hf:OWNER/NAME")
    return data_dir / "hf" / name / "labels.csv"


def find(wanted: str, digests: DigestCache, data_dir: Path, skip_broken: bool = False) -> Own:
    """The images that "kind:path" names. Raises RequestError where they are not there or cannot be used."""
    kind, _, place = wanted.partition(":")
    if kind not in KINDS:
        raise RequestError(f"dataset: {shown(wanted)} begins with no kind of images; {near_or_all(kind, KINDS)}")
    path = hub_table(wanted, data_dir) if kind == "hf" else Path(place).expanduser().absolute()
    if not (path.exists() if kind == "folder" else path.is_file()):
        what = "folder and no .zip file" if kind == "folder" else "file"
        raise RequestError(f"dataset: there is no {what} {one_line(str(path))}; write {kind}: and its path")
    try:
        facts = _remembered(kind, path, skip_broken, digests)
    except (OSError, ValueError) as error:
        raise RequestError(f"dataset {kind}:{one_line(str(path))} cannot be used: {one_line(str(error))}") from None
    packages = () if kind == "npz" else ("pillow",)
    names = tuple(facts["class_names"])
    parameter = wanted if kind == "hf" else f"{kind}:{path.name}"
    shape = tuple(facts["image_shape"])
    count = facts["train_images"]
    return Own(path, facts["name"], facts["version"], facts["digest"], names, parameter, packages, shape, count)


def _remembered(kind: str, path: Path, skip_broken: bool, digests: DigestCache) -> dict[str, Any]:
    """What the load stage's own code finds, remembered by file: of one file all of it, else of each image its part."""
    if path.is_file() and kind not in TABLES:
        purpose = f"{_CHECKED}-{kind}{'-skip' if skip_broken else ''}"
        facts: dict[str, Any] = digests.recall(path, purpose, partial(_of_file, kind, skip_broken))
        if facts["fault"]:
            raise ValueError(facts["fault"])
        return facts | {"digest": digests.recall(path, "sha256", digest_file)}
    from bakeoff.lab.image_files import ImageFiles

    folder = path.parent if kind in TABLES else path
    source = ImageFiles(kind, path, 0, skip_broken=skip_broken, look=_looking(folder, digests))
    files = [[name, facts["sha256"]] for name, facts in sorted(source.facts.items())]
    table = [digests.recall(path, "sha256", digest_file)] if kind in TABLES else []
    return _named(source) | {"digest": digest_value([*table, *files])}


def _of_file(kind: str, skip_broken: bool, path: Path) -> dict[str, Any]:
    from bakeoff.lab import data

    try:
        return {"fault": ""} | _named(data.open_source(f"{kind}:{path.name}", 0, path, skip_broken))
    except (OSError, ValueError) as error:
        return {"fault": str(error)}


def _named(source: Any) -> dict[str, Any]:
    named = {name: getattr(source, name) for name in ("name", "version", "class_names", "image_shape")}
    return named | {"train_images": source.available["train"]}


def _looking(folder: Path, digests: DigestCache) -> Callable[[str], dict[str, Any]]:
    """A function: what an image file is, by its name in the folder, and the digest of its bytes."""
    from bakeoff.lab.image_files import look_at

    def work(path: Path) -> dict[str, Any]:
        content = path.read_bytes()
        return {"sha256": hashlib.sha256(content).hexdigest(), **look_at(content)}

    def look(name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = digests.recall(folder / name, f"{_CHECKED}-image", work)
            return found
        except OSError as error:
            return {"sha256": "", "fault": f"cannot be read ({error.strerror})"}

    return look
