"""Real trainings and searches whose kernel is killed: the same command goes on where it stopped, with the same bits.

`make test-variants` runs it.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from bakeoff.store.last_made import LastMade
from tests import environment
from tests.conftest import PROJECT

TRAINED, SEARCHED = "simple_cnn", "tuner_cnn_shallow"
COMMON = ("dataset=shapes10", "threads=1", "max_training_tflop=1000")
SPACE = (
    "{conv1_filters: [2, 4, 6, 8], conv2_filters: [2, 4]}"  # small networks: a trial is a kernel's start and a graph
)
SETTINGS = {  # epochs of many steps: time to be killed in, on few images
    TRAINED: (*COMMON, "epochs=10", "max_epochs=10", "batch_size=1"),
    SEARCHED: (*COMMON, "max_trials=4", f"search_space={SPACE}"),
}


def _command(folder: Path, variant: str) -> list[str]:
    places = ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]
    command = [sys.executable, str(PROJECT / "pipeline.py"), "--profile", "smoke", "--variants", variant]
    return [*command, *(f"--set={setting}" for setting in SETTINGS[variant]), *places]


def _start(folder: Path, variant: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_command(folder, variant), "--no-pdf"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment.at_start() | {"BAKEOFF_RESUME_SECONDS": "0"},
    )


def _run(folder: Path, variant: str) -> tuple[int, str]:
    process = _start(folder, variant)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    for path in (folder / "runs").glob(f"*/*/{name}"):
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    return []


def _kill_kernel_when(process: subprocess.Popen[str], folder: Path, stage: str, ready: Callable[[], bool]) -> str:
    """Kill the kernel that makes a step of `stage` once `ready`; what the command said."""
    deadline = time.monotonic() + 300
    kernels: list[psutil.Process] = []
    while not kernels:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
        kernels = [each for each in psutil.process_iter() if _is_kernel_of(each, folder, stage)] if ready() else []
    kernels[-1].kill()
    return process.communicate(timeout=300)[0]


def _is_kernel_of(process: psutil.Process, folder: Path, stage: str) -> bool:
    with suppress(psutil.Error, OSError):
        place = Path(process.cwd())
        made_there = place.parent.parent == folder / "runs" / ".staging" and place.name.startswith(f"{stage}-")
        return made_there and os.getsid(process.pid) == process.pid
    return False


def _check_nothing_is_left(folder: Path) -> None:
    """No checkpoint, and in no step a file that it does not need."""
    assert not list((folder / "runs" / "checkpoints").iterdir()) and not list((folder / "runs" / ".staging").iterdir())
    names = {path.name for path in (folder / "runs").glob("*/*/*")}
    assert "unfinished.npz" not in names and not any("partial" in name for name in names)


def _predictions(folder: Path, variant: str) -> dict[str, np.ndarray]:
    key = LastMade(folder / "runs").key(variant, "evaluate")
    with np.load(folder / "runs" / "evaluate" / key[:32] / "predictions.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, stub_template: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(stub_template / "runs" / "background", folder / "runs" / "background")
    for variant in SETTINGS:
        code, said = _run(folder, variant)
        assert code == 0, said
    return folder


@pytest.fixture
def begun(undisturbed: Path, tmp_path: Path) -> Path:
    """A store in which only the data and the background are made."""
    for stage in ("load", "preprocess", "background"):
        shutil.copytree(undisturbed / "runs" / stage, tmp_path / "runs" / stage)
    return tmp_path


def test_a_training_goes_on_after_its_last_epoch(undisturbed: Path, begun: Path) -> None:
    process = _start(begun, TRAINED)
    said = _kill_kernel_when(process, begun, "train", lambda: len(_rows(begun, "history.csv")) >= 3)
    assert process.returncode == 1
    assert "train simple_cnn FAILED: train, code cell" in said and "the kernel died" in said, said
    before = _rows(begun, "history.csv")
    kept = subprocess.run([*_command(begun, TRAINED), "--clean", "--yes"], capture_output=True, text=True, check=True)
    assert "not finished; the next run goes on from it" in kept.stdout, kept.stdout
    code, said = _run(begun, TRAINED)
    assert code == 0, said
    _check_nothing_is_left(begun)
    after = _rows(begun, "history.csv")
    # What was saved is there with its seconds, which a second training would not repeat.
    assert len(after) == 10 and after[: len(before) - 1] == before[:-1]
    for name, values in _predictions(undisturbed, TRAINED).items():
        np.testing.assert_array_equal(values, _predictions(begun, TRAINED)[name])


def test_a_search_goes_on_after_its_last_trial(undisturbed: Path, begun: Path) -> None:
    process = _start(begun, SEARCHED)
    said = _kill_kernel_when(process, begun, "trial", lambda: any((begun / "runs").glob("trial/*/step.json")))
    assert process.returncode == 1 and "tuner_cnn_shallow FAILED: trial" in said, said
    before = {path: path.read_bytes() for path in (begun / "runs").glob("trial/*/step.json")}
    assert 1 <= len(before) <= 3
    code, said = _run(begun, SEARCHED)
    assert code == 0, said
    _check_nothing_is_left(begun)
    assert {path: path.read_bytes() for path in before} == before
    (best,) = (begun / "runs").glob("search/*/best.json")
    (same,) = (undisturbed / "runs").glob("search/*/best.json")
    assert best.read_bytes() == same.read_bytes()
    for name, values in _predictions(undisturbed, SEARCHED).items():
        np.testing.assert_array_equal(values, _predictions(begun, SEARCHED)[name])
