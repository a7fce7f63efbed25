"""Cells of executed notebooks by their ids, as the report shows them: without the machine's folders, sound, short."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from bakeoff.report.masks import Mask, every_text, sound

_SHOWN_LINES = 200  # of a printed text, from its beginning and from its end
_PLACES = ("inputs", "output")  # folders of one machine


class Executed:
    """An executed notebook. Whatever it holds is untrusted, and shown as text."""

    def __init__(self, path: Path, store: Path) -> None:
        executed = nbformat.read(path, as_version=4)
        self.cells: list[NotebookNode] = executed.cells
        self._mask = Mask(store, executed.metadata.get("papermill"))

    def tagged(self, tag: str) -> Iterator[NotebookNode]:
        """The cells with a tag, in order."""
        return (cell for cell in self.cells if tag in cell.metadata.get("tags", []))

    def first(self, *ids: str) -> NotebookNode | None:
        """The cell with the first of these ids that the notebook has."""
        found = {cell.get("id"): cell for cell in self.cells}
        return next((found[each] for each in ids if each in found), None)

    def outputs(self, *ids: str, kind: str = "") -> list[NotebookNode]:
        """The outputs of `first(*ids)`: all, or those of a kind of data (`image/png`)."""
        cell = self.first(*ids)
        shown = [self.shown(output) for output in cell.get("outputs", [])] if cell else []
        return [output for output in shown if not kind or kind in output.get("data", {})]

    def shown(self, output: NotebookNode) -> NotebookNode:
        """An output as the report shows it."""
        output.update(nbformat.from_dict(every_text(output, lambda text: sound(self._mask(text)))))
        _make_sound(output)
        _shorten(output)
        return output

    def source(self, *ids: str) -> str:
        """The code of `first(*ids)`."""
        cell = self.first(*ids)
        return sound(self._mask(cell.source)) if cell else ""

    def parameters(self) -> str:
        """The parameters as they were injected, a line each, without the folders that the pipeline fills in."""
        cell = next(self.tagged("injected-parameters"), None)
        source = sound(self._mask(cell.source)) if cell else ""
        left_out = {*_PLACES, "published"}
        return "\n".join(text for node, text in _statements(source) if _assigned(node) not in left_out)

    def call(self, function: str, *ids: str) -> str:
        """Of `source(*ids)` the statements that call `function` (`model.fit`), without those around them."""
        return "\n".join(text for node, text in _statements(self.source(*ids)) if _called(node) == function)


def _statements(source: str) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement of a cell, with its text."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # not a program that the report has to understand
        return
    yield from ((node, ast.get_source_segment(source, node) or "") for node in body)


def _assigned(node: ast.stmt) -> str:
    return ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""


def _called(node: ast.stmt) -> str:
    value = node.value if isinstance(node, ast.Assign | ast.Expr) else None
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""


def output_of(data: Mapping[str, str], kind: str, caption: str) -> NotebookNode:
    """An output of the report's own, in the form of a notebook's."""
    about = {"bakeoff": {"caption": caption, "kind": kind}}
    return nbformat.v4.new_output("display_data", dict(data), metadata=about)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> NotebookNode:
    """A table output; fields are HTML."""
    cells = "".join(f"<th>{each}</th>" for each in head)
    body = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{each}</td>' for each in row[1:])}</tr>" for row in rows)
    html = f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    return output_of({"text/html": html}, "table", caption)


def listing(source: str, caption: str) -> NotebookNode:
    """A listing of Python."""
    return output_of({"text/markdown": "", "text/plain": source}, "listing", caption)


def _make_sound(output: NotebookNode) -> None:
    """Leave out of an output what is not as a notebook has it: kernels send what programs give them."""
    if "data" in output:
        output["data"] = {kind: content for kind, content in output["data"].items() if isinstance(content, str)}
    if not isinstance(output.get("metadata", {}).get("bakeoff", {}), Mapping):
        del output["metadata"]["bakeoff"]


def _shorten(output: NotebookNode) -> None:
    """Leave out the middle of a very long printed text, and say so: the executed notebook holds all of it."""
    place: Any = output
    name = "text"
    if "text" not in output:
        place, name = output.get("data", {}), "text/plain"
    lines = str(place.get(name, "")).splitlines(keepends=True)
    if len(lines) > 2 * _SHOWN_LINES:
        note = f"[... {len(lines) - 2 * _SHOWN_LINES} lines: see the executed notebook ...]\n"
        place[name] = "".join([*lines[:_SHOWN_LINES], note, *lines[-_SHOWN_LINES:]])
