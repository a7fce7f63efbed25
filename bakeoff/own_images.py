"""Images of one's own: what the load stage would refuse, its own code refuses before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.digests import DigestCache
from bakeoff.errors import RequestError, one_line, shown
from bakeoff.prepared import near_or_all
from bakeoff.store import digest_file

KINDS = ("npz",)  # of images of one's own: "kind:path"
_CHECKED = "own-images-1"  # what is remembered of a file; another number when other things are checked


@dataclass(frozen=True)
class Own:
    """Images that can be loaded. name and version: as the load stage gives them; parameter: without any folder."""

    path: Path
    name: str
    version: str
    digest: str
    class_names: tuple[str, ...]
    parameter: str
    packages: tuple[str, ...] = ()


def find(wanted: str, digests: DigestCache) -> Own:
    """The images that "kind:path" names. Raises RequestError where they are not there or cannot be used."""
    kind, _, place = wanted.partition(":")
    if kind not in KINDS:
        raise RequestError(f"dataset: {shown(wanted)} begins with no kind of images; {near_or_all(kind, KINDS)}")
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        raise RequestError(f"dataset: there is no file {one_line(str(path))}; write {kind}: and the path of a file")
    facts = digests.recall(path, f"{_CHECKED}-{kind}", _facts)
    if facts["fault"]:
        raise RequestError(f"dataset {kind}:{one_line(str(path))} cannot be used: {one_line(facts['fault'])}")
    digest = digests.recall(path, "sha256", digest_file)
    names = tuple(facts["class_names"])
    return Own(path, facts["name"], facts["version"], digest, names, f"{kind}:{path.name}")


def _facts(path: Path) -> dict[str, Any]:
    """What the load stage's own code finds in a file; `fault`: why it would refuse it."""
    from bakeoff.lab import data

    try:
        source = data.open_source(f"npz:{path.name}", 0, path)
    except (OSError, ValueError) as error:
        return {"fault": str(error)}
    return {"fault": "", "name": source.name, "version": source.version, "class_names": source.class_names}
