"""Steps as jobs: of submitit's local executor, and of a real Slurm with one node, this machine, where there can be one.

`make test-slurm` runs it in an environment of its own; `make test` does not collect it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.executors.one_node_slurm import slurm, why_not
from tests.faults.kills import proofs
from tests.stubs import StubProject

pytest.importorskip("submitit")
VARIANTS = ("stub_0", "stub_1")
LOCAL = ("--no-pdf", "--executor", "slurm", "--slurm", "cluster=local")
SLURM = ("--no-pdf", "--executor", "slurm", "--slurm", "partition=main", "--slurm", "time=60")
_PATIENCE = 240.0
needs_slurm = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Slurm that commands find by the environment."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as place,
        slurm(Path(place)) as configuration,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SLURM_CONF", configuration)
        yield


def _wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def _trainings(folder: Path) -> list[psutil.Process]:
    """The processes of jobs that are in the middle of a training of a run below `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            place = Path(process.cwd())
            if place.is_relative_to(folder) and "train-" in place.parent.name:
                family = [process, *process.parents()]  # papermill goes into the folder, too
                found += [each for each in family if "submitit.core._submit" in each.cmdline()]
    return found


def _next_training(folder: Path, seen: set[int]) -> psutil.Process:
    """A job at the beginning of a training: the first one that is not among the processes `seen`."""
    job: psutil.Process = _wait_for(lambda: next((each for each in _trainings(folder) if each.pid not in seen), None))
    seen |= {each.pid for each in _trainings(folder)}
    return job


def _queued() -> list[str]:
    said = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True).stdout
    return said.split()


def test_jobs_of_this_machine_leave_the_same_and_one_that_is_preempted_runs_again(
    project: StubProject, truth: dict[str, str], tmp_path: Path
) -> None:
    process = project.start(tmp_path, VARIANTS, *LOCAL)
    job = _next_training(tmp_path, set())
    job.send_signal(signal.SIGUSR2)
    job.wait(10)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    assert proofs(tmp_path) == truth


@needs_slurm
def test_slurm_executes_and_what_is_preempted_or_killed_runs_again(
    cluster: None, project: StubProject, truth: dict[str, str], tmp_path: Path
) -> None:
    process = project.start(tmp_path, VARIANTS, *SLURM)
    seen: set[int] = set()
    _next_training(tmp_path, seen).kill()
    preempted = _next_training(tmp_path, seen)
    number = preempted.environ()["SLURM_JOB_ID"]
    subprocess.run(["scancel", "--signal=USR2", number], check=True)
    preempted.wait(20)
    assert number in _queued()  # it waits there again
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0 and "it runs again (1 of 3)" in said, said
    assert proofs(tmp_path) == truth and not _queued()


@needs_slurm
def test_ctrl_c_leaves_no_job(cluster: None, project: StubProject, tmp_path: Path) -> None:
    process = project.start(tmp_path, VARIANTS, *SLURM)
    _next_training(tmp_path, set())
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    said, _ = process.communicate(timeout=_PATIENCE)
    _wait_for(lambda: not _queued() and not _trainings(tmp_path))
    assert time.monotonic() - begun < 10 and process.returncode == 130 and "Stopped." in said, said


@needs_slurm
def test_what_slurm_refuses_is_one_sentence(cluster: None, project: StubProject, tmp_path: Path) -> None:
    code, said = project.run(tmp_path, VARIANTS, "--no-pdf", "--executor", "slurm", "--slurm", "partition=moon")
    assert code == 2 and "Traceback" not in said and "moon" in said, said


def test_without_sbatch_and_with_a_wrong_setting_the_command_says_so(
    project: StubProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    refused = {(): "this machine has no sbatch", ("partition",): "write NAME=VALUE", ("time=4:00",): "in minutes"}
    for setting, answer in refused.items():
        more = [word for each in setting for word in ("--slurm", each)]
        code, said = project.run(tmp_path, VARIANTS, "--executor", "slurm", *more)
        assert code == 2 and answer in said.splitlines()[-1] and "Traceback" not in said, said
