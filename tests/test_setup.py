"""`make setup` sees a set-up that was stopped and a checkout that was moved. That it mends both at whatever moment:
`python -m tests.faults.stopped_setups`, which takes half an hour.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up, as far as make can see."""
    folder = tmp_path / "check out"  # with a space, as people's folders have
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").write_text(f"{folder.resolve()}\n", encoding="utf-8")
    return folder


def nothing_to_do(checkout: Path) -> bool:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "--question", "setup"], cwd=checkout, env=environment, check=False).returncode == 0


def test_a_whole_environment_is_left_alone(checkout: Path) -> None:
    assert nothing_to_do(checkout)


def test_a_moved_checkout_is_set_up_again(checkout: Path, tmp_path: Path) -> None:
    checkout.rename(tmp_path / "elsewhere")
    assert not nothing_to_do(tmp_path / "elsewhere")


def test_a_stopped_set_up_is_begun_again(checkout: Path) -> None:
    (checkout / ".venv" / ".installed").unlink()
    assert not nothing_to_do(checkout)
    (checkout / ".venv" / ".installed").touch()  # stopped while it was written
    assert not nothing_to_do(checkout)


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to(tmp_path / "python3.8")
    assert not nothing_to_do(checkout)


def test_a_newer_lock_file_is_installed(checkout: Path) -> None:
    os.utime(checkout / "requirements.lock", (2e9, 2e9))
    assert not nothing_to_do(checkout)
