"""Real trainings and searches whose kernel is killed: the same command goes on where it stopped, with the same bits."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.faults import kills

TRAINING = (
    "--variants",
    "simple_cnn",
    "--set",
    "max_train_examples=3000",
    "--set",
    "max_epochs=6",
    "--set",
    "epochs=6",
)
SEARCH = ("--variants", "tuner_cnn_shallow", "--set", "max_trials=2", "--set", "max_train_examples=200")
LIMITS = ("--set", "dataset=shapes10", "--set", "max_training_tflop=1000", "--no-pdf")


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    places = ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "pipeline.py"), "--profile", "smoke", *arguments, *LIMITS, *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"BAKEOFF_RESUME_SECONDS": "0"},
    )


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    process = _start(folder, *arguments)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    for path in (folder / "runs").glob(f"*/*/{name}"):
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    return []


def _kill_kernel_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> str:
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    for victim in kills.kernels(process.pid, kills._family(process.pid)):
        kills._kill(victim)
    return process.communicate(timeout=300)[0]


def _predictions(folder: Path) -> dict[str, np.ndarray]:
    (path,) = (folder / "runs" / "evaluate").glob("*/predictions.npz")
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    for arguments in (TRAINING, SEARCH):
        code, said = _run(folder / arguments[1], *arguments)
        assert code == 0, said
    return folder


def test_a_training_goes_on_after_its_last_epoch(undisturbed: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, *TRAINING)
    said = _kill_kernel_when(process, lambda: len(_rows(tmp_path, "history.csv")) >= 3)
    assert process.returncode == 1
    assert "train simple_cnn FAILED: train, code cell" in said and "the kernel died" in said, said
    before = _rows(tmp_path, "history.csv")
    code, said = _run(tmp_path, *TRAINING)
    assert code == 0, said
    after = _rows(tmp_path, "history.csv")
    # What was saved is there with its seconds, which a second training would not repeat.
    assert len(after) == 6 and after[: len(before) - 1] == before[:-1]
    for name, values in _predictions(undisturbed / TRAINING[1]).items():
        np.testing.assert_array_equal(values, _predictions(tmp_path)[name])


def test_a_search_goes_on_after_its_last_trial(undisturbed: Path, tmp_path: Path) -> None:
    process = _start(tmp_path, *SEARCH)
    said = _kill_kernel_when(process, lambda: len(_rows(tmp_path, "trials.csv")) >= 1)
    assert process.returncode == 1 and "search tuner_cnn_shallow FAILED: search, code cell" in said, said
    before = _rows(tmp_path, "trials.csv")
    code, said = _run(tmp_path, *SEARCH)
    assert code == 0, said
    assert _rows(tmp_path, "trials.csv")[: len(before)] == before
    (best,) = (tmp_path / "runs").glob("search/*/best.json")
    (same,) = (undisturbed / SEARCH[1] / "runs").glob("search/*/best.json")
    assert best.read_bytes() == same.read_bytes()
    for name, values in _predictions(undisturbed / SEARCH[1]).items():
        np.testing.assert_array_equal(values, _predictions(tmp_path)[name])
