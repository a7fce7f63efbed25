"""Every variant, run once on `smoke` as a user runs it, and what that leaves: `make test-variants`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bakeoff.params import load_parameters
from bakeoff.results import COLUMNS
from bakeoff.store.last_made import LastMade
from tests.conftest import Workplace

# One thread a step, so that as many steps as there are cores run side by side.
SETTINGS = (
    *("dataset=shapes10", "threads=1"),
    *("max_train_examples=100", "max_test_examples=20", "max_training_tflop=0.01"),
)
SMOKE = ("--profile", "smoke", *(f"--set={setting}" for setting in SETTINGS))
SEARCHED = {"gray_grid", "tuner_cnn_deep", "tuner_cnn_shallow"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, fork_server: None) -> Workplace:
    """Every variant, run once on smoke."""
    place = Workplace(tmp_path_factory.mktemp("made"))
    done = place.run("--all", *SMOKE, "--no-pdf", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture
def page(made: Workplace) -> str:
    return (made.reports / "smoke" / "report.html").read_text()


def test_every_variant_has_a_row_and_a_section(made: Workplace, page: str) -> None:
    rows = made.results("smoke")
    names = [each.variant for each in load_parameters(None, "smoke")]
    assert sorted(rows) == names
    assert {row["status"] for row in rows.values()} == {"ok"}
    for name in names:
        assert f'<h3 id="variant-{name.replace("_", "-")}">' in page


def test_the_table_has_its_columns_and_what_a_task_lacks_is_empty(made: Workplace) -> None:
    rows = made.results("smoke")
    assert list(rows["ann"])[:18] == list(COLUMNS[:18])
    for row in rows.values():
        if row["task"] != "labels_only":
            assert 0 <= float(row["test_accuracy"]) <= 1
    assert rows["vgg16_imagenet"]["test_accuracy"] == ""
    assert rows["vgg16_dog_features"]["task"] == "binary"


def test_limits_and_missing_weights_are_said(made: Workplace, page: str) -> None:
    rows = made.results("smoke")
    assert all(row["limited"] for row in rows.values())
    assert rows["resnet50_transfer"]["weights"] == "random"
    assert "random weights in place of ImageNet" in rows["resnet50_transfer"]["limited"]
    assert "searched on the first" in rows["tuner_cnn_deep"]["limited"]
    assert "synthetic fallback data set" in page


def test_the_cost_of_a_search_is_counted(made: Workplace) -> None:
    rows = made.results("smoke")
    assert {name for name, row in rows.items() if row["search_seconds"]} == SEARCHED
    assert all(float(rows[name]["search_seconds"]) > 0 for name in SEARCHED)


def test_images_are_inside_and_no_other_host_is_named(page: str) -> None:
    assert "data:image/webp;base64," in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', re.sub(r"<a [^>]*>", "", page))
    assert page.count("<script") == 1
    assert len(page) < 10_000_000


def test_ids_are_unique_and_there_is_one_title(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<h1") == 1
    assert not re.findall(r'href="#([^"]+)"', page) or set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_every_image_has_an_alternative_text(page: str) -> None:
    images = re.findall(r"<img [^>]*>", page)
    assert images
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert len(images) == len(re.findall(r"<figcaption><b>Figure \d+\.</b> \w", page))


def test_the_executed_notebooks_lie_beside_the_report(made: Workplace) -> None:
    folder = made.reports / "smoke" / "notebooks" / "gray_grid"
    made_once = {"load", "preprocess", "draw", "search", "build", "train", "evaluate"}
    beside = {path.stem for path in folder.iterdir()}
    assert beside > made_once and len(beside) == len(made_once) + 1, "of the trials, the best one"
    notebook = json.loads((folder / "train.ipynb").read_text())
    assert all(cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"])


def test_again_nothing_runs(made: Workplace) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.runs.rglob("step.json")}
    done = made.run("--all", *SMOKE, "--no-pdf", timeout=60, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "all done" in done.stdout and "up to date" in done.stdout
    # What is known is not judged again: what that takes is not even imported.
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "bakeoff.pipeline" in imported and not imported & {"numpy", "scipy", "statsmodels"}
    assert {path: path.stat().st_mtime_ns for path in made.runs.rglob("step.json")} == before


def test_a_dry_run_says_done_or_why(made: Workplace) -> None:
    done = made.run("--dry-run", "--variants", "ann", *SMOKE, "--set", "epochs=2")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert lines["ann build"] == "done"
    assert lines["ann train"] == "to run, parameters (epochs)"
    assert lines["ann evaluate"] == "to run, input (train)"


def test_a_forced_stage_runs_again_with_the_same_numbers(made: Workplace) -> None:
    before = made.results("smoke")["ann"]
    done = made.run("--variants", "ann", *SMOKE, "--force", "train", "--report-name", "again", "--no-pdf")
    assert done.returncode == 0, done.stdout
    assert "(forced)" in done.stdout
    after = made.results("again")["ann"]
    assert (after["test_accuracy"], after["test_loss"]) == (before["test_accuracy"], before["test_loss"])


def test_a_cold_kernel_gives_the_same_bits(made: Workplace, prepared_workplace: Workplace) -> None:
    """Of what trains and evaluates: each of them imports all that a network needs, which takes long."""
    for stage in ("load", "preprocess", "build"):
        key = LastMade(made.runs).key("ann", stage)
        assert key
        step = Path(stage, key[:32])
        shutil.copytree(made.runs / step, prepared_workplace.runs / step)
    done = prepared_workplace.run("--variants", "ann", *SMOKE, "--cold-kernels", "--jobs", "1", "--no-pdf", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    warm, cold = (_predictions(place) for place in (made, prepared_workplace))
    assert cold and cold <= warm


def _predictions(place: Workplace) -> set[bytes]:
    return {path.read_bytes() for path in place.runs.glob("evaluate/*/predictions.npz")}
