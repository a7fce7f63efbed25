"""Of very many variants the report shows the first ones; the others have pages of their own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.stubs import StubProject

VARIANTS = ["stub_0", "stub_1"]


@pytest.fixture
def few_chapters(stub_run: tuple[StubProject, Path], tmp_path: Path) -> tuple[StubProject, Path]:
    """A finished run of two variants, in a project whose report has room for one."""
    project, folder = StubProject(tmp_path / "project"), tmp_path / "made"
    shutil.copytree(stub_run[0].root, project.root)
    shutil.copytree(stub_run[1], folder)
    pages = project.root / "bakeoff" / "report" / "pages.py"
    pages.write_text(pages.read_text().replace("MOST_CHAPTERS = 50", "MOST_CHAPTERS = 1"))
    return project, folder


def test_a_variant_beyond_the_first_has_a_page_that_all_forms_of_the_report_know(
    few_chapters: tuple[StubProject, Path],
) -> None:
    project, folder = few_chapters
    code, said = project.run(folder, VARIANTS)
    assert code == 0 and "Report written" in said, said
    report = folder / "reports" / "smoke-selection"
    index, page = (report / "report.html").read_text(), (report / "variants" / "stub_1.html").read_text()
    assert 'id="variant-stub-0"' in index and 'id="variant-stub-1"' not in index
    assert 'id="variant-stub-1"' in page and 'id="variant-stub-0"' not in page
    assert '<a href="variants/stub_1.html">stub_1</a>' in index  # from the tables, and from the list
    assert "The data" in page and "evaluate.ipynb" in page
    for place, text in ((report, index), (report / "variants", page)):
        targets = {target for target in re.findall(r'href="([^"]+)"', text) if "://" not in target}
        for target in targets:
            path, _, name = target.partition("#")
            there = (place / path).resolve() if path else None
            assert there is None or there.is_file(), target
            where = there.read_text() if there and there.suffix == ".html" else text
            assert not name or f'id="{name}"' in where, target
    graph = json.loads((report / "provenance.json").read_text())["@graph"]
    entities = {each["@id"]: each for each in graph}
    assert entities["variants/stub_1.html"]["sha256"]
    assert {"@id": "variants/stub_1.html"} in entities["#report"]["result"]
    assert b"variants/stub_1.html" in (report / "report.pdf").read_bytes()
    code, said = project.run(folder, VARIANTS, "--check-report", str(report))
    assert code == 0, said
    (report / "variants" / "stub_1.html").write_text(page.replace("stub_1", "stub_2"))
    code, said = project.run(folder, VARIANTS, "--check-report", str(report))
    assert code == 1 and "variants/stub_1.html has other bytes" in said, said
    assert "Report written" in project.run(folder, VARIANTS, "--no-pdf")[1]  # the page, at least
    assert (report / "variants" / "stub_1.html").read_text() == page
    assert "up to date" in project.run(folder, VARIANTS, "--no-pdf")[1]


def test_pages_that_no_variant_has_go_away(few_chapters: tuple[StubProject, Path]) -> None:
    project, folder = few_chapters
    pages = folder / "reports" / "smoke-selection" / "variants"
    pages.mkdir()
    (pages / "left.html").write_text("of an earlier report")
    assert project.run(folder, VARIANTS, "--no-pdf")[0] == 0
    assert [path.name for path in pages.iterdir()] == ["stub_1.html"]
