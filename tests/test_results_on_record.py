"""docs/results.md and the README's table are what a report's files say, and nothing else."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from docs import results
from tests.conftest import PROJECT


@pytest.fixture
def written(small_report: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A copy of a report's folder, and where the page and the README are to be written."""
    shutil.copytree(small_report, tmp_path / "report")
    shutil.copyfile(PROJECT / "README.md", tmp_path / "README.md")
    return tmp_path / "report", tmp_path / "results.md", tmp_path / "README.md"


def test_every_row_and_every_claim_is_there(written: tuple[Path, Path, Path]) -> None:
    report, page, readme = written
    results.main([report], page, readme)
    text = page.read_text()
    with (report / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        assert f"| {row['variant']} |" in text and f"| {row['variant']} |" in readme.read_text()
        assert f"| {float(row['test_accuracy']):.3f} |" in text
        assert row["limited"] in text
    missing = text.partition("## Not on record")[2]
    assert "- vgg16_transfer" in missing and "- simple_cnn" not in missing
    count = len((report / "claims.csv").read_text().splitlines()) - 1
    assert f"{count} claims" in text


def test_a_changed_figure_is_changed_everywhere(written: tuple[Path, Path, Path]) -> None:
    report, page, readme = written
    with (report / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[0]["test_accuracy"] = "0.98765"
    with (report / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    results.main([report], page, readme)
    for path in (page, readme):
        assert f"| {rows[0]['variant']} |" in path.read_text() and "| 0.988 |" in path.read_text()
    results.main([report], page, readme)
    assert readme.read_text().count("| 0.988 |") == 1


def test_a_folder_that_is_no_report_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="must be the folder of a finished report"):
        results.main([tmp_path], tmp_path / "page", tmp_path / "readme")


def test_the_page_and_the_readme_are_what_the_record_says(tmp_path: Path) -> None:
    """Also that a note is shown, and that each of the three outcomes has its table."""
    shutil.copyfile(PROJECT / "README.md", tmp_path / "README.md")
    record = PROJECT / "docs" / "record"
    results.main([record], tmp_path / "results.md", tmp_path / "README.md")
    for name, path in (("results.md", PROJECT / "docs" / "results.md"), ("README.md", PROJECT / "README.md")):
        assert (tmp_path / name).read_text() == path.read_text(), f"make results REPORTS={record.relative_to(PROJECT)}"
    text = (tmp_path / "results.md").read_text()
    assert (record / "note.md").read_text() in text
    assert all(f"**{status}:**" in text for status in ("Reproduced", "Not reproduced", "Undecided"))
