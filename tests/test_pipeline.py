"""Whole runs of the command on `smoke`, as a user makes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bakeoff import warm
from bakeoff.params import load_parameters, variant_names
from bakeoff.results import COLUMNS
from tests.conftest import PROJECT, Workplace
from tests.lab.test_data import write_prepared

# One thread a step, so that as many steps as there are cores run side by side.
SMOKE = ("--profile", "smoke", "--set", "dataset=shapes10", "--set", "threads=1")
SEARCHED = {"gray_grid", "tuner_cnn_deep", "tuner_cnn_shallow"}


@pytest.fixture(scope="module")
def made(shared_workplace: Workplace) -> Workplace:
    """Every variant, run once on smoke."""
    done = shared_workplace.run("--all", *SMOKE, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return shared_workplace


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
    assert {path.stem for path in folder.iterdir()} == made_once | {"trial-1", "trial-2"}
    notebook = json.loads((folder / "train.ipynb").read_text())
    assert all(cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"])


def test_again_nothing_runs(made: Workplace) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.runs.rglob("step.json")}
    done = made.run("--all", *SMOKE, timeout=60, PYTHONPROFILEIMPORTTIME="1")
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


def test_the_report_alone_is_rebuilt_with_the_same_bytes(made: Workplace, page: str) -> None:
    (made.reports / "smoke" / "report.html").unlink()
    done = made.run("--all", "--report-only", *SMOKE, timeout=120)
    assert done.returncode == 0
    assert (made.reports / "smoke" / "report.html").read_text() == page


def test_a_forced_stage_runs_again_with_the_same_numbers(made: Workplace) -> None:
    before = made.results("smoke")["ann"]
    done = made.run("--variants", "ann", *SMOKE, "--force", "train", "--report-name", "again", "--no-pdf")
    assert done.returncode == 0, done.stdout
    assert "(forced)" in done.stdout
    after = made.results("again")["ann"]
    assert (after["test_accuracy"], after["test_loss"]) == (before["test_accuracy"], before["test_loss"])


def test_a_cold_kernel_gives_the_same_bits(made: Workplace, prepared_workplace: Workplace) -> None:
    done = prepared_workplace.run("--variants", "ann", *SMOKE, "--cold-kernels", "--jobs", "1", "--no-pdf", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    warm, cold = (_predictions(place) for place in (made, prepared_workplace))
    assert cold and cold <= warm


def _predictions(place: Workplace) -> set[bytes]:
    return {path.read_bytes() for path in place.runs.glob("evaluate/*/predictions.npz")}


def test_a_damaged_file_is_found_and_made_again(made: Workplace, workplace: Workplace) -> None:
    shutil.copytree(made.runs, workplace.runs)
    (labels,) = workplace.runs.glob("load/*/train_labels.npy")
    content = bytearray(labels.read_bytes())
    content[-1] ^= 1
    labels.write_bytes(content)
    arguments = ("--variants", "ann", *SMOKE, "--set", "batch_size=16", "--no-pdf")
    done = workplace.run(*arguments)
    assert done.returncode == 0, done.stdout
    assert "train_labels.npy is not what was written; the step reruns." in done.stdout
    assert labels.read_bytes()[-1] == content[-1] ^ 1


def test_ctrl_c_leaves_no_process_and_the_next_run_goes_on(prepared_workplace: Workplace) -> None:
    places = ["--runs-dir", str(prepared_workplace.runs), "--reports-dir", str(prepared_workplace.reports)]
    command = [sys.executable, str(PROJECT / "pipeline.py"), "--variants", "ann", *SMOKE, *places]
    own_server = os.environ | {warm.SOCKET_VARIABLE: str(prepared_workplace.root / "nobody.sock")}
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=own_server
    )
    assert started.stdout is not None
    for line in started.stdout:
        if "build ann" in line:
            break
    children = psutil.Process(started.pid).children(recursive=True)
    os.killpg(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=10)
    assert started.returncode == 130
    assert errors.strip().endswith("goes on from there.")
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    done = prepared_workplace.run("--variants", "ann", *SMOKE, "--no-pdf")
    assert done.returncode == 0
    assert "load ann" not in done.stdout


def test_another_data_set_works_by_name(prepared_workplace: Workplace) -> None:
    """28 by 28, one channel, three classes: nothing may count on CIFAR-10's shape."""
    write_prepared(prepared_workplace.root / "data", "tiny", {"train": 200, "test": 60})
    variants = ("ann", "gray_cnn", "vgg16_dog_features", "augmented_cnn", "tuner_cnn_shallow")
    chosen = (
        "--variants",
        ",".join(variants),
        "--profile",
        "smoke",
        "--set",
        "dataset=tiny",
        "--set",
        "positive_class=two",
    )
    done = prepared_workplace.run(*chosen, "--no-pdf", "--data-dir", str(prepared_workplace.root / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = prepared_workplace.results("smoke-selection")
    assert {row["dataset"] for row in rows.values()} == {"tiny"}
    assert sorted(rows) == sorted(variants)


def test_a_failing_variant_leaves_the_others_and_is_named(prepared_workplace: Workplace) -> None:
    settings = ("--set", "max_train_examples=10", "--set", "validation_split=0.999")  # leaves nothing to train on
    done = prepared_workplace.run("--variants", "ann,tutorial_cnn", *SMOKE, *settings, "--no-pdf")
    assert done.returncode == 1
    assert "Not finished: tutorial_cnn" in done.stdout
    rows = prepared_workplace.results("smoke-selection")
    assert (rows["ann"]["status"], rows["tutorial_cnn"]["status"]) == ("ok", "failed")
    assert "validation_split" in rows["tutorial_cnn"]["message"]
    page = (prepared_workplace.reports / "smoke-selection" / "report.html").read_text()
    assert 'id="variant-tutorial-cnn"' in page and "validation_split" in page
    links = re.findall(r'href="(notebooks/[^"]+)"', page)
    assert links and all((prepared_workplace.reports / "smoke-selection" / link).is_file() for link in links)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to run"),
        (("--all", "--variants", "ann"), "say what to run"),
        (("--variants", "annn"), "did you mean 'ann'?"),
        (("--all", "--force", "trains"), "did you mean 'train'?"),
        (("--all", "--report-name", "../x"), "no plain folder name"),
        (("--all", "--profile", "quik"), "quik"),
        (("--al",), "--al"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(
    workplace: Workplace, arguments: tuple[str, ...], words: str
) -> None:
    done = workplace.run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(workplace.root.glob("reports*"))


def test_the_list_names_every_variant(workplace: Workplace) -> None:
    done = workplace.run("--list")
    assert done.returncode == 0
    assert all(f"{name}: " in done.stdout for name in variant_names())


def test_the_folders_can_be_elsewhere(made: Workplace, tmp_path: Path) -> None:
    done = made.run("--variants", "ann", *SMOKE, "--report-name", "elsewhere", "--no-pdf")
    assert done.returncode == 0
    assert (made.reports / "elsewhere" / "report.html").is_file()


def test_replicates_are_rows_with_seeds_of_their_own_and_share_a_chapter(prepared_workplace: Workplace) -> None:
    done = prepared_workplace.run(
        "--variants", "ann", *SMOKE, "--set", "replicates=2", "--set", "max_replicates=2", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = prepared_workplace.reports / "smoke-selection"
    seeds = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()]
    assert [row[seeds[0].index("seed")] for row in seeds[1:]] == ["0", "1"]
    page = (folder / "report.html").read_text()
    assert 'id="variant-ann"' in page and "ann (seed 1)" in page
    assert {path.name for path in (folder / "notebooks").iterdir()} == {"ann", "ann-1"}
    assert (folder / "report.pdf").is_file()
    assert page.count('<h3 id="variant-') == 1 and "(mean of 2)" in page and "notebooks/ann-1/train.ipynb" in page
    checked = prepared_workplace.run("--check-report", str(folder))
    assert checked.returncode == 0, checked.stdout
