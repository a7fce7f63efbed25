"""Executed notebooks without the folders of the machine that executed them: they are handed in beside the report."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bakeoff.plan.code_digests import PROJECT

# Somebody's own folder on any system, whatever machine it was.
_HOMES = re.compile(r"(?<![\w.])(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})[^/\\\s\"']+")
_NOBODYS = {"/", ".", "", "/usr", "/usr/local"}


class Mask:
    """Replaces the folders of the store, the project, the data, Python and the user in texts.

    A path in the store is then `runs/...`, one in the project `./...`: the same on every machine.
    """

    def __init__(self, store: Path, papermill: Mapping[str, Any] | None = None) -> None:
        """`papermill` is what an executed notebook says of itself: it may have been executed elsewhere."""
        names: dict[str, str] = {}
        for folder, name in [*_executed_in(papermill or {}), (str(store), "runs"), *_here()]:
            for form in {folder, os.path.realpath(folder)} if folder else ():
                names.setdefault(form.rstrip("/\\"), name)
        self._names = {folder: name for folder, name in names.items() if folder not in _NOBODYS}
        inner_first = sorted(map(re.escape, self._names), key=len, reverse=True)
        self._folders = re.compile(rf"(?<![\w.])(?:{'|'.join(inner_first)})(?![\w-])")

    def __call__(self, text: str) -> str:
        """The text with the folders' names in their place."""
        return _HOMES.sub("~", self._folders.sub(lambda found: self._names[found[0]], text))


def masked_notebook(text: str, store: Path) -> str:
    """An executed notebook's JSON with masked texts; its images are as they were."""
    notebook = json.loads(text)
    mask = Mask(store, notebook.get("metadata", {}).get("papermill"))
    return json.dumps(every_text(notebook, lambda text: sound(mask(text))), indent=1, ensure_ascii=False) + "\n"


def sound(text: str) -> str:
    """The text with a mark in place of halves of characters, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def every_text(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all its texts changed but those of images, whose letters mean nothing."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [every_text(each, change) for each in value]
    if isinstance(value, dict):
        return {
            name: each if name.startswith("image/") and isinstance(each, str | list) else every_text(each, change)
            for name, each in value.items()
        }
    return value


def _executed_in(papermill: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Store, project and own images by papermill's own record: runs/<stage>/<key>/<file>, notebooks/<file>."""
    for key, above, name in (("output_path", 2, "runs"), ("input_path", 1, ".")):
        path = Path(str(papermill.get(key) or ""))
        if path.is_absolute() and len(path.parents) > above + 1:
            yield str(path.parents[above]), name
    images = ((papermill.get("parameters") or {}).get("inputs") or {}).get("images")
    if images:
        yield str(Path(images).parent), "<data>"


def _here() -> Iterable[tuple[str, str]]:
    yield str(PROJECT), "."
    yield os.environ.get("TFDS_DATA_DIR", ""), "<data>"
    yield os.environ.get("KERAS_HOME", ""), "<keras>"
    yield sys.prefix, "<python>"
    yield sys.base_prefix, "<python>"
    yield tempfile.gettempdir(), "<tmp>"
    yield str(Path.home()), "~"
