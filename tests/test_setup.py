"""`make setup` sees a set-up that was stopped and a checkout that was moved. That it mends both at whatever moment:
`python -m tests.faults.stopped_setups`, which takes half an hour.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up, as far as make can see."""
    folder = tmp_path / "check out"  # with a space, as people's folders have
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-gpu.lock", "pyproject.toml"):
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").write_text(f"{folder.resolve()}\n", encoding="utf-8")
    return folder


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *words, "setup"], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def nothing_to_do(checkout: Path, *words: str) -> bool:
    return make(checkout, "--question", *words).returncode == 0


def driver(checkout: Path, version: str) -> str:
    """What names a driver that was made up, as its own file does."""
    (checkout / "version").write_text(
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@U16)\n"
        "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1)\n",
        encoding="utf-8",
    )
    return "DRIVER=version"


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


def test_where_an_nvidia_driver_is_the_cuda_wheels_are_installed(checkout: Path) -> None:
    (checkout / ".venv" / ".installed").unlink()
    said = make(checkout, "--dry-run", driver(checkout, "570.86.15")).stdout
    assert "-r requirements.lock -r requirements-gpu.lock" in said and "make setup GPU=no leaves them out" in said
    for words in (["DRIVER=nowhere", "DEVICE=nowhere"], ["DRIVER=version", "GPU=no"]):
        said = make(checkout, "--dry-run", *words).stdout
        assert "-r requirements.lock" in said and "-r requirements-gpu.lock" not in said and "NVIDIA" not in said
    said = make(checkout, "--dry-run", "DRIVER=nowhere", "DEVICE=version").stdout  # it does not say its version
    assert "-r requirements-gpu.lock" in said


def test_a_driver_too_old_for_the_wheels_is_said_in_a_sentence(checkout: Path) -> None:
    (checkout / ".venv" / ".installed").unlink()
    said = make(checkout, "--dry-run", driver(checkout, "470.256.02")).stdout
    assert "-r requirements-gpu.lock" not in said
    assert "The NVIDIA driver 470 is too old for the CUDA wheels (525 or newer): Bakeoff computes on the CPU" in said


def test_without_the_cuda_wheels_it_stays_until_they_are_asked_for(checkout: Path) -> None:
    there, installed = driver(checkout, "570.86.15"), checkout / ".venv" / ".installed"
    installed.write_text(f"{checkout.resolve()}\nGPU=no\nrequirements.lock\n", encoding="utf-8")
    assert nothing_to_do(checkout, there) and nothing_to_do(checkout, there, "GPU=no")
    assert not nothing_to_do(checkout, there, "GPU=yes")
    os.utime(checkout / "requirements.lock", (2e9, 2e9))
    assert "-r requirements-gpu.lock" not in make(checkout, "--dry-run", there).stdout
    installed.write_text(f"{checkout.resolve()}\nGPU=\nrequirements.lock\nrequirements-gpu.lock\n", encoding="utf-8")
    os.utime(installed, (3e9, 3e9))
    assert nothing_to_do(checkout, there) and not nothing_to_do(checkout, there, "GPU=no")


def test_conda_installs_the_lock_file_and_one_command_is_left() -> None:
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.12", "pip", {"pip": ["-r requirements.lock"]}]
    readme = " ".join((PROJECT / "README.md").read_text().split())
    assert "`conda env create -f environment.yml`, then `pip install --no-deps --editable .`" in readme


def test_the_cuda_wheels_are_those_that_the_locked_tensorflow_asks_for() -> None:
    pinned = dict(re.findall(r"^(nvidia-[a-z0-9-]+)==([0-9.]+)", (PROJECT / "requirements-gpu.lock").read_text(), re.M))
    try:
        requirements = [Requirement(each) for each in metadata.requires("tensorflow") or ()]
    except metadata.PackageNotFoundError:
        pytest.skip("TensorFlow is not installed here")
    asked = {each.name: each for each in requirements if each.marker and each.marker.evaluate({"extra": "and-cuda"})}
    asked = {name: each for name, each in asked.items() if name.startswith("nvidia-")}
    assert asked.keys() == pinned.keys()
    assert all(each.specifier.contains(pinned[name]) for name, each in asked.items())
