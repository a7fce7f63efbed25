"""A run's folder in the temporary folder goes with its run, or with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bakeoff.store import scratch

HOLD = """
import sys, time
from bakeoff.run.runner import Runner
from bakeoff.plan.machine import Machine
from bakeoff.store import Store
from pathlib import Path
with Runner(Store(Path(sys.argv[1])), Machine("tensorflow", 1, {}), Path(sys.argv[1]), print) as runner:
    (runner._kernels.folder() / "server.sock").touch()
    print(runner._kernels.folder(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A run that holds a folder for its sockets."""
    command = [sys.executable, "-c", HOLD, str(place / "runs")]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=Path(__file__).parent.parent)
    assert run.stdout is not None
    return run, Path(run.stdout.readline().strip())


def kill(run: subprocess.Popen[str]) -> None:
    run.send_signal(signal.SIGKILL)
    run.communicate()


def test_what_a_killed_run_left_is_swept_by_the_next_and_a_living_one_is_left_alone(place: Path) -> None:
    (killed, left), (living, held) = hold(place), hold(place)
    kill(killed)
    assert left.is_dir()
    time.sleep(1.1)
    third, own = hold(place)
    assert not left.exists()
    assert held.is_dir()
    assert own.is_dir()
    kill(living)
    kill(third)


def test_folders_of_others_and_links_are_not_swept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "mine").mkdir()
    (place / "bakeoff-run-link").symlink_to(place / "mine")
    (place / "bakeoff-run-other").mkdir()
    for path in ("mine", "bakeoff-run-other"):
        os.utime(place / path, (1, 1))
    if os.getuid() == 0:
        os.chown(place / "bakeoff-run-other", 65534, -1)
    scratch.sweep(place)
    assert (place / "mine").is_dir()
    assert (place / "bakeoff-run-other").exists() == (os.getuid() == 0)


def test_a_folder_goes_with_its_block(place: Path) -> None:
    with scratch.scratch_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        scratch.sweep(place)
        assert folder.is_dir()
    assert not folder.exists()
