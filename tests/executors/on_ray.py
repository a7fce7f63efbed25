"""A real Ray cluster of three nodes on this machine: the same results, whatever is killed, and nothing left.

`make test-ray` runs it in an environment of its own; `make test` does not collect it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.kills import proofs
from tests.stubs import LIGHT, PROJECT, StubProject

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")

OWNER = "BAKEOFF_TESTS_OWNER"
VARIANTS = ("stub_0", "stub_1", "stub_2")
_SMALL = 100 * 2**20  # bytes for a node's objects
_PATIENCE = 240.0


@pytest.fixture(scope="module")
def places() -> Iterator[list[Path]]:
    """The temporary folder of each node; their names are short, since sockets lie there."""
    with ExitStack() as stack:
        yield [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"node-{n}-"))) for n in range(3)]


@pytest.fixture(scope="module")
def cluster(places: list[Path]) -> Iterator[Any]:
    """A head and two more nodes, with a core each; their fork servers import only what stubs need."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ |= LIGHT | {"RAY_agent_register_timeout_ms": "180000"}  # nodes of a busy machine are slow to start
    made = Cluster()
    _add(made, places[0], include_dashboard=False, include_log_monitor=False, no_monitor=True)
    for place in places[1:]:
        _add(made, place)
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


def _add(cluster: Any, place: Path, **more: bool) -> None:
    """A node with one core; another one where it ends since its agents took 15 s to start, as on a busy machine."""
    for last in (False, False, True):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=_SMALL, env_vars={"TMPDIR": str(place)}, **more)
            return
        except Exception:  # Ray raises this class itself
            if last:
                raise


def _on(cluster: Any) -> tuple[str, ...]:
    return "--no-pdf", "--executor", "ray", "--ray-address", cluster.address


def _wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def _processes(*words: str) -> list[psutil.Process]:
    """Processes of this test whose command has all these words."""
    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get(OWNER) == os.environ[OWNER]
            if own and all(word in " ".join(process.cmdline()) for word in words):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _helpers() -> list[psutil.Process]:
    """Fork servers and kernels: each leads a session of its own."""
    return _processes("bakeoff.warm.server")


def _kernel_of(worker: psutil.Process, *folders: Path) -> psutil.Process | None:
    """The kernel that a worker of Ray executes a training in: its folder names the worker."""
    for kernel in _helpers():
        with suppress(psutil.Error):
            place = Path(kernel.cwd())
            inside = any(place.is_relative_to(folder) for folder in folders)
            if inside and f"_{worker.pid}_" in place.name and "train-" in place.parent.name:
                return kernel
    return None


def _training(*folders: Path, of: int = 0) -> tuple[psutil.Process, psutil.Process] | None:
    """A worker and its kernel in the middle of a training below one of these folders; `of` a raylet, if given."""
    pairs = ((each, _kernel_of(each, *folders)) for each in _processes("ray::") if of in (0, each.ppid()))
    return next(((worker, kernel) for worker, kernel in pairs if kernel), None)


def _apart(folder: Path) -> list[str]:
    """To be put before a command: no other process sees `folder`/hidden, copied to `folder`/kept in the end."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs Linux namespaces, which root can make")
    (folder / "hidden").mkdir()
    hide = 'kept="$1"; shift; mount -t tmpfs none "$0" && "$@"; code=$?; cp -r "$0/." "$kept"; exit $code'
    return ["unshare", "--mount", "sh", "-c", hide, str(folder / "hidden"), str(folder / "kept")]


def _nothing_left(seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while (left := _helpers()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


@pytest.mark.parametrize("apart", [False, True], ids=["a shared folder", "no shared folder"])
def test_a_real_variant_has_the_same_bits_as_on_this_machine_alone(
    cluster: Any, places: list[Path], template: Path, tmp_path: Path, apart: bool
) -> None:
    before = _apart(tmp_path) if apart else []
    folder, result = (tmp_path / "hidden", tmp_path / "kept") if apart else (tmp_path, tmp_path)
    command = StubProject(PROJECT).command(folder, ["simple_cnn"], *_on(cluster), *(["--transfer"] if apart else []))
    done = subprocess.run([*before, *command], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (local,), (ours,) = ((each / "runs" / "evaluate").glob("*/predictions.npz") for each in (template, result))
    assert local.parent.name == ours.parent.name and local.read_bytes() == ours.read_bytes()
    _nothing_left()
    assert not [path for place in places for path in place.glob("*-store")]


def test_a_worker_that_is_killed_costs_its_step_a_second_run_and_nothing_else(
    cluster: Any, project: StubProject, truth: dict[str, str], tmp_path: Path
) -> None:
    process = project.start(tmp_path, VARIANTS, *_on(cluster))
    worker, kernel = _wait_for(lambda: _training(tmp_path))
    worker.kill()
    kernel.wait(10)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0 and "it runs again (1 of 3)" in said, said
    assert proofs(tmp_path) == truth
    _nothing_left()


@pytest.mark.parametrize("apart", [False, True], ids=["a shared folder", "no shared folder"])
def test_a_node_that_is_killed_costs_its_steps_a_second_run_and_nothing_else(
    cluster: Any, places: list[Path], project: StubProject, truth: dict[str, str], tmp_path: Path, apart: bool
) -> None:
    before = _apart(tmp_path) if apart else []
    folder, result = (tmp_path / "hidden", tmp_path / "kept") if apart else (tmp_path, tmp_path)
    command = [*before, *project.command(folder, VARIANTS, *_on(cluster), *(["--transfer"] if apart else []))]
    process = subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    others = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    raylet = psutil.Process(_wait_for(lambda: next((pid for pid in others if _training(tmp_path, *places, of=pid)), 0)))
    for each in [raylet, *raylet.children(recursive=True)]:  # as where the power fails: workers and kernels, too
        each.kill()
    cluster.remove_node(others[raylet.pid], allow_graceful=False)
    _add(cluster, places[1])  # three again for the tests that follow
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0 and "it runs again" in said, said
    assert proofs(result) == truth
    _nothing_left()


@pytest.mark.parametrize("own", [True, False], ids=["a cluster of its own", "a cluster that stays"])
def test_ctrl_c_leaves_nothing(cluster: Any, project: StubProject, tmp_path: Path, own: bool) -> None:
    before = {each.pid for each in _processes()}
    process = project.start(tmp_path, VARIANTS, *(("--no-pdf", "--executor", "ray") if own else _on(cluster)))
    _wait_for(lambda: _training(tmp_path))
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    said, _ = process.communicate(timeout=_PATIENCE)
    _nothing_left(10 - (time.monotonic() - begun))
    assert process.returncode == 130 and "Stopped." in said, said
    left = [each for each in _processes() if each.pid not in before and "ray::IDLE" not in " ".join(each.cmdline())]
    assert not left
    assert all(node.live_processes() for node in cluster.list_all_nodes())


def test_a_cluster_without_a_gpu_that_is_asked_for_one_says_so(
    cluster: Any, project: StubProject, tmp_path: Path
) -> None:
    begun = time.monotonic()
    code, said = project.run(tmp_path, VARIANTS, *_on(cluster), "--device", "gpu")
    assert code == 2 and "has no GPU" in said and "Traceback" not in said, said
    assert time.monotonic() - begun < 10


def test_a_node_that_does_not_see_the_runs_folder_is_named(cluster: Any, project: StubProject, tmp_path: Path) -> None:
    command = [*_apart(tmp_path), *project.command(tmp_path / "hidden", VARIANTS, *_on(cluster))]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 2 and "does not see" in done.stderr, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
