"""--compare: what changed between two reports, from their own files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakeoff.errors import RequestError
from bakeoff.report.compare import compare_reports


def _compared(first: Path, second: Path) -> list[str]:
    said: list[str] = []
    assert compare_reports(first, second, said.append) == 0
    return said


def _edit_table(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        change(row)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _edit_entities(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    crate = json.loads(path.read_text())
    for each in crate["@graph"]:
        change(each)
    path.write_text(json.dumps(crate))


def test_a_report_is_like_itself(small_report: Path) -> None:
    said = _compared(small_report, small_report)
    assert said[1:] == [
        f"{title}: no change."
        for title in ("Variants", "Versions", "Parameters", "Accuracies on the test images", "Claims")
    ]


def test_what_changed_is_said_with_old_and_new(small_report: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_report, other)
    variants: list[str] = []

    def better(row: dict[str, str]) -> None:
        variants.append(row["variant"])
        row |= {"test_accuracy": "0.95", "accuracy_low": "0.9", "accuracy_high": "0.98", "test_images": "100"}

    def worse(row: dict[str, str]) -> None:
        row |= {"test_accuracy": "0.5", "accuracy_low": "0.4", "accuracy_high": "0.6", "test_images": "100"}

    def newer(entity: dict[str, Any]) -> None:
        if entity.get("name") == "keras" and "softwareVersion" in entity:
            entity["softwareVersion"] = "99.0"
        if entity.get("name") == "batch_size" and entity["@id"].startswith("#parameter/"):
            entity["value"] = 7

    def settled(row: dict[str, str]) -> None:
        row["status"] = "reproduced"

    base = tmp_path / "base"
    shutil.copytree(small_report, base)
    _edit_table(base / "results.csv", worse)
    _edit_table(other / "results.csv", better)
    _edit_table(other / "claims.csv", settled)
    _edit_entities(other / "provenance.json", newer)
    text = "\n".join(_compared(base, other))
    assert "-> 99.0" in text and "batch_size: " in text and "-> 7 (" in text
    assert f"{variants[0]}: 0.500 (0.400 to 0.600, 100 images of" in text
    assert "+45.0 points" in text and "significantly different" in text
    assert "not tested -> reproduced" in text


@pytest.mark.parametrize("broken", ["results.csv", "provenance.json", "claims.csv"])
def test_what_is_no_report_is_refused(small_report: Path, tmp_path: Path, broken: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_report, other)
    (other / broken).unlink()
    with pytest.raises(RequestError, match=f"other is no report: it has no {broken}"):
        compare_reports(small_report, other, print)
