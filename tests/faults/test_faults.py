"""Breaking runs on purpose: what the user sees, the exit code, and what the next run does."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bakeoff.plan.machine import Machine
from bakeoff.run.runner import Runner
from bakeoff.store import Store
from tests.faults import kills
from tests.stubs import LIGHT, StubProject, make_stub_project

VARIANTS = list(kills.VARIANTS)
PLAIN = ("--no-pdf", "--jobs", "1")  # for what has nothing to do with PDFs and several workers: each takes a second
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits are those of POSIX")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, stub_template: Path) -> StubProject:
    return make_stub_project(tmp_path_factory.mktemp("stubs"), stub_template, len(VARIANTS), 0.02)


@pytest.fixture(scope="module")
def whole(project: StubProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    kills.undisturbed(project, folder)
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    shutil.copytree(whole, tmp_path / "place")
    return tmp_path / "place"


def _edit(project: StubProject, folder: Path, stage: str, code: str) -> StubProject:
    """A copy of the stub project in which a cell of `stage` runs `code`."""
    root = folder / "edited"
    shutil.copytree(project.root, root)
    path = root / "notebooks" / f"{stage}.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][-1]["source"] = f"{code}\n{''.join(notebook['cells'][-1]['source'])}"
    path.write_text(json.dumps(notebook))
    return StubProject(root)


def test_nothing_is_lost_and_nothing_false_when_processes_are_killed(
    project: StubProject, whole: Path, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    random.seed(seed)
    truth = kills.Truth(kills.proofs(whole), seconds=6.0)
    tally = kills.campaign(project, tmp_path / "place", truth, 5, list(kills.VICTIMS.values()))
    assert tally.hit == 5 and not (tally.lost or tally.false or tally.left), tally


HOLDING = "import ctypes; ctypes.PyDLL(None).sleep(600)"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, "import time; time.sleep(600)"),
        (signal.SIGINT, HOLDING),
        (signal.SIGINT, "while True: pass"),
        (signal.SIGTERM, HOLDING),  # what is done then is the same for both
    ],
    ids=["sleeping", "holding the interpreter's lock", "busy", "told to terminate"],
)
def test_ctrl_c_comes_back_at_once_and_leaves_no_process(
    project: StubProject, place: Path, tmp_path: Path, number: signal.Signals, code: str
) -> None:
    process = _edit(project, tmp_path, "5_train", code).start(place, VARIANTS[:1])
    _wait_for(lambda: any(kills._is_kernel(each) for each in kills._family(process.pid)) and _trains(place))
    family = kills._family(process.pid)
    asked = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert said.rstrip().endswith("Stopped. What is finished is kept; the same command goes on from there.")
    assert kills._outlived(family) == []


def test_ctrl_c_of_a_terminal_reaches_every_process_and_the_next_run_goes_on(
    project: StubProject, tmp_path: Path
) -> None:
    command = project.command(tmp_path, VARIANTS[:1], *PLAIN)
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=os.environ | LIGHT, start_new_session=True, **options)
    assert process.stdout is not None
    assert any("build stub_0" in line for line in process.stdout)
    family = kills._family(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130 and errors.rstrip().endswith("goes on from there."), errors
    assert family and kills._outlived(family) == []
    code, said = project.run(tmp_path, VARIANTS[:1], *PLAIN)
    assert code == 0 and "load stub_0" not in said, said


def _start_waiting(project: StubProject, folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run whose two trainings take some seconds, at the moment when both are at work; and its processes."""
    edited = _edit(project, folder, "5_train", "import time; time.sleep(6)")
    process = edited.start(folder, VARIANTS, "--no-pdf", "--jobs", "2")
    _wait_for(lambda: len(list((folder / "runs").glob(".staging/*/train-*"))) == 2)
    return process, kills._family(process.pid)


def test_a_worker_that_is_killed_fails_its_own_step_and_its_kernel_ends(project: StubProject, tmp_path: Path) -> None:
    process, family = _start_waiting(project, tmp_path)
    kernels = [each for each in family if kills._is_kernel(each)]
    assert len(kernels) == 2
    assert kills.workers(process.pid, family)
    gone, alive = psutil.wait_procs(kernels, timeout=4)  # before its cell would have come to its end
    assert len(gone) == len(alive) == 1
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.count("FAILED") == 1 and "train: the process that ran it was killed" in said, said
    assert "1 of 2 rows" in said and len(list((tmp_path / "runs" / "evaluate").glob("*/step.json"))) == 1, said


def test_a_fork_server_that_dies_is_started_again_and_that_is_said(project: StubProject, tmp_path: Path) -> None:
    process, family = _start_waiting(project, tmp_path)
    assert kills.fork_server(process.pid, family)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and len(re.findall("FAILED: .*the kernel died", said)) == 2, said
    assert "starts cold" not in said and "start cold" not in said, said
    code, said = project.run(tmp_path, VARIANTS, "--no-pdf")
    assert code == 0, said


def test_a_runner_says_that_its_fork_server_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("BAKEOFF_WARM_IMPORTS", LIGHT["BAKEOFF_WARM_IMPORTS"])
    with Runner(Store(tmp_path), Machine("tensorflow", 1, {}), tmp_path, said.append) as runner:
        for words in ([], ["it is started again"], ["it is started again", "kernels start cold from here on"]):
            name, _ = runner._kernels.find()
            assert [line.split("; ")[-1].rstrip(".") for line in said] == words
            assert name == ("python3" if len(words) == 2 else "bakeoff-warm")
            if runner._kernels._server is not None and runner._kernels._server._process is not None:
                runner._kernels._server._process.kill()
                runner._kernels._server._process.wait()


def _trains(folder: Path) -> bool:
    return any((folder / "runs").glob(".staging/*/train-*"))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)


@pytest.mark.parametrize(
    "code", ["while True: pass", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"], ids=["endless", "frozen"]
)
def test_a_stage_that_never_ends_is_stopped_and_named(
    project: StubProject, place: Path, tmp_path: Path, code: str
) -> None:
    edited = _edit(project, tmp_path, "5_train", code)
    exit_code, said = edited.run(place, VARIANTS[:1], *PLAIN, "--set", "stage_timeout_seconds=4")
    assert exit_code == 1
    assert "train stub_0 FAILED: train, code cell 3: the stage ran longer than 4 s" in said, said
    assert "Traceback" not in said


def test_memory_that_is_refused_is_named_with_its_cell(project: StubProject, place: Path, tmp_path: Path) -> None:
    exit_code, said = _edit(project, tmp_path, "5_train", "bytearray(10**15)").run(place, VARIANTS[:1], *PLAIN)
    assert exit_code == 1 and "train stub_0 FAILED: train, code cell 3: MemoryError" in said, said


def test_a_cell_may_print_a_hundred_thousand_lines(project: StubProject, place: Path, tmp_path: Path) -> None:
    edited = _edit(project, tmp_path, "5_train", "for number in range(100_000): print(number)")
    exit_code, said = edited.run(place, VARIANTS[:1], *PLAIN)
    assert exit_code == 0, said


@pytest.mark.parametrize("kilobytes", [1, 100])
def test_a_limit_of_file_size_costs_a_sentence_and_nothing_else(
    project: StubProject, whole: Path, tmp_path: Path, kilobytes: int
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    command = project.command(tmp_path, VARIANTS[:1], *PLAIN)
    options = {"capture_output": True, "text": True, "timeout": 300, "check": False, "env": os.environ | LIGHT}
    done = subprocess.run(command, preexec_fn=limit, **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "File too large" in done.stdout + done.stderr
    assert not re.search(r'File ".*/bakeoff/', done.stdout + done.stderr)  # IPython has traces of its own
    code, said = project.run(tmp_path, VARIANTS[:1], *PLAIN)
    assert code == 0, said
    assert kills.proofs(tmp_path).items() <= kills.proofs(whole).items()


def test_four_runs_at_once_make_each_step_once(project: StubProject, whole: Path, tmp_path: Path) -> None:
    started = [project.start(tmp_path, VARIANTS, "--no-pdf") for _ in range(4)]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4, said
    assert kills.proofs(tmp_path) == kills.proofs(whole)
    for step in kills.proofs(whole):
        stage = step.split("/")[0]
        made = sum(len(re.findall(rf"    {stage} stub_0: [\d.]+ s", text)) for text in said)
        assert made == 1, said


def test_a_flipped_bit_is_found_before_use_and_that_step_alone_made_again(
    project: StubProject, whole: Path, place: Path
) -> None:
    files = [
        path for path in (place / "runs").glob("*/*/*") if path.parent.parent.name in ("load", "train", "evaluate")
    ]
    random.seed(os.urandom(8))
    for path in random.sample([path for path in files if path.name != "step.json"], 2):
        content = bytearray(path.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        code, said = project.run(place, VARIANTS, *PLAIN, "--force", "evaluate")
        assert code == 0, said
        stage = path.parent.parent.name
        if stage != "evaluate":  # made anew in any case
            assert path.name in said and "reruns" in said, (path, said)
        assert kills.proofs(place) == kills.proofs(whole)


@pytest.mark.parametrize("harm", ["truncated", "swapped", "gone"])
def test_a_file_that_is_not_what_was_written_is_never_used(
    project: StubProject, whole: Path, place: Path, harm: str
) -> None:
    one, other = sorted((place / "runs" / "train").glob("*/training.json"))
    if harm == "truncated":
        one.write_bytes(one.read_bytes()[:-1])
    elif harm == "swapped":
        one.rename(one.with_suffix(".kept"))
        other.rename(one)
        one.with_suffix(".kept").rename(other)
        one.write_bytes(one.read_bytes() + b" ")
    else:
        one.unlink()
    code, said = project.run(place, VARIANTS, *PLAIN)
    assert code == 0, said
    assert kills.proofs(place) == kills.proofs(whole)


def test_clocks_a_day_off_change_nothing(project: StubProject, place: Path) -> None:
    for number, path in enumerate(path for path in place.rglob("*") if path.is_file()):
        date = time.time() + (86400 if number % 2 else -86400)
        os.utime(path, (date, date))
    code, said = project.run(place, VARIANTS, *PLAIN)
    assert code == 0 and "all done" in said, said


def test_no_process_of_a_failed_run_is_left(project: StubProject, place: Path, tmp_path: Path) -> None:
    edited = _edit(
        project, tmp_path, "5_train", "import subprocess; subprocess.Popen(['sleep', '6543']); import os; os._exit(3)"
    )
    code, said = edited.run(place, VARIANTS[:1], *PLAIN)
    assert code == 1 and "code cell 3: the kernel died" in said, said
    left = [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "6543"]]
    for each in left:
        each.kill()
    assert not left
