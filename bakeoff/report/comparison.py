"""The comparison's cells in the report: the summary on page one, the contents, the ranking and how it was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbformat.notebooknode import NotebookNode

from bakeoff.report.cells import Executed
from bakeoff.report.standing import read_standing
from bakeoff.report.variant import PNG

if TYPE_CHECKING:
    from bakeoff.report.merge import Merger

_FIRST_PAGE = ("about-answer", "answer", "about-claims", "claims")
_LAST = ("about-overrides", "overrides")  # the cells of the report's last chapter


def comparison(merger: Merger, executed: Executed) -> list[NotebookNode]:
    """The comparison's chapters: variants in them lead to their chapters, and one table is the ranking.

    Returns the cells of its last chapter, which stand at the end of the report.
    """
    merger.standing = read_standing(executed)
    cells = {cell["id"]: cell for cell in executed.tagged("report")}
    last = [cells.pop(name) for name in _LAST if name in cells]
    for cell in [cells.pop(name) for name in _FIRST_PAGE if name in cells]:
        compared(merger, executed, cell)
    merger.mark("contents")
    for cell in cells.values():
        compared(merger, executed, cell)
    return last


def compared(merger: Merger, executed: Executed, cell: NotebookNode) -> None:
    """One cell of the comparison; its headings keep their levels."""
    name = cell.get("id", "")
    if name == "cost" and len(executed.outputs(name, kind=PNG)) == 2:
        _two_panels(merger, executed, cell)
        return
    ranking = name == "ranking" and bool(executed.outputs("ranking", kind="text/html"))
    merger.cell(executed, cell, "compare", 1, links=True, **({"name": "ranking"} if ranking else {}))
    if ranking:
        merger.back = "ranking"


def _two_panels(merger: Merger, executed: Executed, cell: NotebookNode) -> None:
    """A cell of two figures: its code, then the figures side by side."""
    outputs, cell["outputs"] = cell["outputs"], []
    merger.cell(executed, cell, "compare", 1, links=True)
    second = [number for number, output in enumerate(outputs) if PNG in output.get("data", {})][1]
    merger.mark("row", widths=[1, 1])
    merger.outputs(outputs[:second], links=True)
    merger.mark("next")
    merger.outputs(outputs[second:], links=True)
    merger.mark("end-row")
