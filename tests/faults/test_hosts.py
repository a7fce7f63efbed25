"""One store, two hosts: namespaces with process numbers and names of their own stand for machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults import kills
from tests.stubs import LIGHT, StubProject, make_stub_project, on_host


def _can() -> bool:
    try:
        return subprocess.run([*on_host("a"), "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _can(), reason="needs Linux namespaces, which root can make")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, stub_template: Path) -> StubProject:
    return make_stub_project(tmp_path_factory.mktemp("stubs"), stub_template, 2, 0.02)


@pytest.fixture(scope="module")
def truth(project: StubProject, tmp_path_factory: pytest.TempPathFactory) -> kills.Truth:
    return kills.undisturbed(project, tmp_path_factory.mktemp("truth"))


@pytest.mark.parametrize("locks", ["shared", "unseen"])
def test_two_hosts_on_one_store_lose_nothing_and_store_nothing_false(
    project: StubProject, truth: kills.Truth, tmp_path: Path, locks: str
) -> None:
    """Where locks are not seen, as on some network drives, both make every step, and one of each counts."""
    place = tmp_path / "place"
    (place / "runs" / "locks").mkdir(parents=True)
    hide = ["sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(place / "runs" / "locks")]
    started = []
    for host in ("host-a", "host-b"):
        before = [*on_host(host), *(hide if locks == "unseen" else ())]
        command = [*before, *project.command(place, kills.VARIANTS, "--no-pdf", "--report-name", host)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": project.root}
        started.append(subprocess.Popen(command, env=os.environ | LIGHT, **options))
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert kills.proofs(place) == truth.proofs
    assert not list((place / "runs" / ".staging").iterdir())
    shutil.rmtree(place)
