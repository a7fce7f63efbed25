"""results.csv says what the pages say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakeoff.params import Parameters
from bakeoff.plan.resolve import SYNTHETIC, Source
from bakeoff.plan.steps import Row
from bakeoff.results import COLUMNS, _measured, title_of, to_csv
from bakeoff.store import write_atomically
from tests.stubs import StubProject

BUILD = {"parameters": 10, "forward_gflop": 0.1}


def test_the_table_has_the_line_ends_of_unix_on_every_system(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    report = stub_run[1] / "reports" / "smoke-selection"
    assert all(b"\r" not in (report / name).read_bytes() for name in ("results.csv", "claims.csv"))
    table = [dict.fromkeys(COLUMNS, ""), dict.fromkeys(COLUMNS, "") | {"variant": "ann"}]
    write_atomically(tmp_path / "results.csv", to_csv(table))
    assert (tmp_path / "results.csv").read_bytes() == to_csv(table).encode()


def test_the_validation_accuracy_is_the_one_of_the_training_s_page() -> None:
    train, evaluate = {"validation_accuracy": 0.166}, {"validation_accuracy": 0.1825, "test_accuracy": 0.2}
    assert _measured({"build": BUILD, "train": train, "evaluate": evaluate})["validation_accuracy"] == 0.166


def test_the_baseline_is_the_most_frequent_class() -> None:
    classes = [{"support": 30}, {"support": 50}, {"support": 20}]
    assert _measured({"build": BUILD, "evaluate": {"per_class": classes}})["baseline_accuracy"] == 0.5
    assert _measured({"build": BUILD, "evaluate": {"per_class": []}})["baseline_accuracy"] is None


@pytest.mark.parametrize(
    ("task", "data", "title"),
    [
        ("binary", SYNTHETIC, f"Dog or not ({SYNTHETIC}: its first class in place of dog)"),
        ("binary", "cifar10", "Dog or not"),
        ("classes", SYNTHETIC, "Dog or not"),
    ],
)
def test_a_title_says_when_the_class_that_it_names_is_not_in_the_data(task: str, data: str, title: str) -> None:
    stage: dict[str, Any] = {"task": task, "positive_class": "dog"}
    row = Row(Parameters("dogs", stage, {"title": "Dog or not"}, ()), 0, 0, Source(data, data), "none", {})
    assert title_of(row) == title
