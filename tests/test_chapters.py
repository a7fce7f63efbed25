"""The report's chapters: their order, what stands at the end, and what becomes of a background that fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from bakeoff.plan.code_digests import Code
from bakeoff.plan.steps import background_step, compare_step, stale_reason
from bakeoff.report.cells import Executed
from bakeoff.report.comparison import comparison
from bakeoff.report.merge import Merger, merge
from bakeoff.store import Store
from tests import environment
from tests.conftest import PROJECT

CHAPTERS = PROJECT / "bakeoff" / "report" / "chapters"
ORDER = [
    *("1 Summary", "2 The data, and how they are prepared", "3 The variants", "4 Conclusion", "5 References"),
    "A Background",
]


def _code(store: Store, project: Path = PROJECT) -> Code:
    return Code(store.digests(), project)


def _empty(store: Store) -> Merger:
    code = _code(store)
    return merge(compare_step([], {}, code, store), background_step(code), [], [], store)


def test_the_chapters_stand_in_their_order_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    merged = _empty(Store(tmp_path))
    assert [text for level, _, text in merged.contents if level == 2] == ORDER
    text = "\n".join(cell.source for cell in merged.cells)
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_a_notebook_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = "\n".join(cell.source for cell in _empty(Store(tmp_path)).cells)
    assert "The notebook 0_background failed" in text and "The notebook 7_compare failed" in text


def test_the_static_chapters_hold_no_result() -> None:
    """No measured figure can stand in a text that is the same in every report."""
    assert not re.findall(r"\d+[.,]\d+|\d+ ?%", (CHAPTERS / "future_work.md").read_text())


def test_every_source_of_a_variant_is_in_the_references() -> None:
    files = [path.read_text() for path in (PROJECT / "params" / "variants").glob("*.yaml")]
    named = {found for text in files for found in re.findall(r"^  source: (\w+)", text, re.MULTILINE)}
    references = (CHAPTERS / "references.md").read_text()
    assert named == set(re.findall(r"^- `(\w+)`:", references, re.MULTILINE))


def test_the_background_is_made_again_when_its_own_code_changes(
    tmp_path: Path, project_copy: Callable[[], Path]
) -> None:
    project, store = project_copy(), Store(tmp_path / "runs")
    before = background_step(_code(store, project))
    assert stale_reason(before, store) == "new"
    _append(project / "bakeoff/lab/plots/theory.py", "\nEXTRA = 1\n")
    page = background_step(_code(store, project))
    assert (page.result_key == before.result_key, page.page_key == before.page_key) == (True, False)
    _append(project / "bakeoff/lab/training/results.py", "\nEXTRA = 1\n")
    same = background_step(_code(store, project))
    assert (same.result_key, same.page_key) == (page.result_key, page.page_key)
    _append(project / "bakeoff/lab/shapes.py", "\nEXTRA = 1\n")
    assert background_step(_code(store, project)).result_key != before.result_key


@pytest.mark.usefixtures("fork_server")
def test_a_background_that_fails_does_not_cost_the_report(tmp_path: Path, project_copy: Callable[[], Path]) -> None:
    """With an empty store and --report-only the background and the comparison are all that runs."""
    project = project_copy()
    shutil.copy(PROJECT / "pipeline.py", project)
    path = project / "notebooks" / "0_background.ipynb"
    path.write_text(path.read_text().replace("import numpy as np", "1 / 0"))
    arguments = ["--variants", "ann", "--profile", "smoke", "--set", "dataset=shapes10", "--report-only"]
    places = ["--runs-dir", str(tmp_path / "runs"), "--reports-dir", str(tmp_path / "reports"), "--no-pdf"]
    done = subprocess.run(
        [sys.executable, "pipeline.py", *arguments, *places],
        cwd=project,
        env=environment.at_start(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "ZeroDivisionError" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
    page = (tmp_path / "reports" / "smoke-selection" / "report.html").read_text()
    assert "The notebook 0_background failed" in page
    assert 'id="variant-ann"' in page and 'id="compare-summary"' in page


def _append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_a_very_long_printed_text_is_cut_in_its_middle(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    cell = nbformat.v4.new_code_cell("print()", metadata={"tags": ["report"]})
    cell.outputs = [nbformat.v4.new_output("stream", text=text)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "long.ipynb")
    merger = Merger()
    merger.notebook(tmp_path / "long.ipynb", "long", 2)
    shown = merger.cells[0].outputs[0]["text"]
    assert shown.startswith("line 0\n") and shown.endswith("line 99999\n")
    assert "[... 99600 lines: see the executed notebook ...]" in shown and len(shown.splitlines()) == 401


def _cell(identifier: str, source: str, *outputs: str) -> nbformat.NotebookNode:
    new = nbformat.v4.new_code_cell if outputs else nbformat.v4.new_markdown_cell
    cell = new(source, id=identifier, metadata={"tags": ["report"]})
    if outputs:
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": each}) for each in outputs]
    return cell


def test_the_answer_stands_before_the_contents_and_the_overrides_at_the_end(tmp_path: Path) -> None:
    table = "<table><tr><th>rank</th><th>variant</th></tr><tr><td>1</td><td>ann</td></tr></table>"
    why = "<table><tr><th>variant</th><th>why</th></tr><tr><td>late (seed 1)</td><td>too short</td></tr></table>"
    cells = [
        _cell("about-answer", "## Summary"),
        _cell("answer", "1", "<p>ann wins</p>"),
        _cell("claims", "1", "<p>a bar</p>"),
        _cell("about-ranking", "## The ranking\n\nHow it is ranked."),
        _cell("ranking", "1", table),
        _cell("about-unranked", "### Not ranked"),
        _cell("unranked", "1", why),
        _cell("about-overrides", "## Overrides"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "compare.ipynb")
    merger = Merger()
    left = comparison(merger, Executed(tmp_path / "compare.ipynb", tmp_path))
    marks = [cell.metadata["bakeoff"].get("mark") for cell in merger.cells]
    shown = [cell.get("id").removeprefix("compare-") for cell in merger.cells[: marks.index("contents")]]
    assert shown == ["about-answer", "answer", "claims"]
    assert [text for _, _, text in merger.contents] == ["1 Summary", "2 The ranking", "2.1 Not ranked"]
    assert [cell.source for cell in left] == ["## Overrides"]
    assert merger.back == "ranking"
    assert merger.standing.ranked == {"ann": {"rank": "1", "variant": "ann"}}
    assert merger.standing.unranked == {"late (seed 1)": "too short"}
