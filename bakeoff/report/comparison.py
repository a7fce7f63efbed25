"""The comparison's cells in the report's chapters: the answer and the ranking first, then how they were found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import nbformat
from nbformat.notebooknode import NotebookNode

from bakeoff.claims.audit import Finding
from bakeoff.report.cells import Executed
from bakeoff.report.conclusion import claims
from bakeoff.report.standing import read_standing
from bakeoff.report.variant import PNG

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

# Cells of the comparison with which a chapter begins; those before the first are the answer.
_BEGIN = ("about-answer", "about-ranking", "about-cost", "about-sources", "about-recalls", "about-departures")
_HEADING = re.compile(r"^## ", re.MULTILINE)
_FIRST = ("answer", "ranking")  # what stands before any explanation


def comparison(merger: Merger, executed: Executed, findings: Sequence[Finding] = ()) -> list[NotebookNode]:
    """The comparison's chapters: variants in them lead to their chapters, and one table is the ranking.

    Returns the cells of its last chapter, which stand at the end of the report.
    """
    merger.standing = read_standing(executed)
    parts = _parts(executed)
    for begin in [each for each in parts if each != _BEGIN[-1]]:
        for cell in parts[begin]:
            compared(merger, executed, cell)
        if begin == _BEGIN[0]:
            merger.paragraphs(*claims(findings))
            merger.mark("contents")
    return parts.get(_BEGIN[-1], [])


def compared(merger: Merger, executed: Executed, cell: NotebookNode) -> None:
    """One cell of the comparison; with some a chapter of the report begins."""
    name = cell.get("id", "")
    if name == "cost" and len(executed.outputs(name, kind=PNG)) == 2:
        _two_panels(merger, executed, cell)
        return
    ranking = name == "ranking" and bool(executed.outputs("ranking", kind="text/html"))
    level = 1 if name in _BEGIN else 2
    merger.cell(executed, cell, "compare", level, links=True, **({"name": "ranking"} if ranking else {}))
    if ranking:
        merger.back = "ranking"


def _two_panels(merger: Merger, executed: Executed, cell: NotebookNode) -> None:
    """A cell of two figures: its code, then each figure with its words, side by side."""
    outputs, cell["outputs"] = cell["outputs"], []
    merger.cell(executed, cell, "compare", 2, links=True)
    second = [number for number, output in enumerate(outputs) if PNG in output.get("data", {})][1]
    merger.mark("row", widths=[1, 1])
    merger.outputs(outputs[:second], links=True)
    merger.mark("next")
    merger.outputs(outputs[second:], links=True)
    merger.mark("end-row")


def _parts(executed: Executed) -> dict[str, list[NotebookNode]]:
    """The comparison's cells by the cell with which their chapter begins; in the first the results come first."""
    parts: dict[str, list[NotebookNode]] = {}
    begin = _BEGIN[0]
    for cell in executed.tagged("report"):
        if cell.get("id") in _BEGIN:
            # What stands before the heading ends the chapter before.
            heading = _HEADING.search(cell.source)
            end = cell.source[: heading.start()].strip() if heading else ""
            if heading and end:
                parts.setdefault(begin, []).append(nbformat.v4.new_markdown_cell(end, id=f"before-{cell['id']}"))
                cell.source = cell.source[heading.start() :]
            begin = cell["id"]
        parts.setdefault(begin, []).append(cell)
    found = {cell.get("id"): cell for cells in parts.values() for cell in cells}
    if not all(name in found for name in (*_BEGIN[:2], *_FIRST)):
        return parts
    title, _, words = found[_BEGIN[0]].source.partition("\n")
    found[_BEGIN[0]].source = title
    results = [found[name] for name in _FIRST]
    kept = {begin: [cell for cell in cells if cell.get("id") not in _FIRST] for begin, cells in parts.items()}
    method = nbformat.v4.new_markdown_cell(words.strip(), id="how-ranked")
    return kept | {_BEGIN[0]: [*kept[_BEGIN[0]][:1], *results, method, *kept[_BEGIN[0]][1:]]}
