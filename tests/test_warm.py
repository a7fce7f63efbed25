"""Warm kernels: forked, fresh, obedient to their environment, and gone with their server."""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest

from bakeoff import warm
from bakeoff.plan.machine import find_backend
from bakeoff.plan.resolve import default_data_dir, import_environment
from bakeoff.warm.client import Server
from bakeoff.warm.process import ask_for_kernel, ask_for_server
from bakeoff.warm.provisioner import request_fork
from bakeoff.warm.server import runtime_started
from tests import environment

pytestmark = pytest.mark.skipif(not warm.supported(), reason="forking is not safe on this system")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("warm")
    server = Server({"KERAS_BACKEND": "tensorflow"}, folder / "log")
    server.start(folder)
    assert server.wait(), (folder / "log").read_text()
    yield server
    server.stop()


PAUSE = "_thread.start_new_thread(ctypes.CDLL(None).pause, ())"  # as a compiled library does


@pytest.fixture
def launcher(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(warm.SOCKET_VARIABLE, str(server.path))
    monkeypatch.setenv("JUPYTER_PATH", str(warm.JUPYTER_PATH))


def _run(folder: Path, *sources: str) -> list[str]:
    """Execute cells in a warm kernel; what they printed."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "in.ipynb")
    done = papermill.execute_notebook(
        folder / "in.ipynb", folder / "out.ipynb", kernel_name=warm.KERNEL, progress_bar=False
    )
    return ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in done.cells]


@pytest.mark.usefixtures("launcher")
def test_a_warm_kernel_has_the_imports_done(tmp_path: Path) -> None:
    source = "import time; t = time.time()\nimport keras, seaborn, tensorflow_datasets\nprint(time.time() - t)"
    (seconds,) = _run(tmp_path, source)
    assert float(seconds) < 0.5


@pytest.mark.usefixtures("launcher")
def test_each_kernel_is_a_fresh_process_with_its_own_seed(tmp_path: Path) -> None:
    source = "import os, random, numpy\nprint('left' in globals(), os.getpid(), random.random(), numpy.random.rand())"
    first, second = (_run(tmp_path, source, "left = 1")[0].split() for _ in range(2))
    assert first[0] == second[0] == "False"
    assert all(a != b for a, b in zip(first[1:], second[1:], strict=True))


@pytest.mark.usefixtures("launcher")
def test_the_environment_is_set_before_the_first_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (printed,) = _run(
        tmp_path,
        "import os, threadpoolctl, keras\nkeras.ops.ones((2, 2))\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], max(p['num_threads'] for p in threadpoolctl.threadpool_info()))",
    )
    assert printed == "-1 1"


@pytest.mark.usefixtures("launcher")
def test_training_works_in_a_child_and_leaves_the_server_clean(tmp_path: Path) -> None:
    source = (
        "import keras, numpy\nmodel = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(numpy.ones((8, 4)), numpy.ones((8, 3)), verbose=0)\nprint('trained')"
    )
    assert [_run(tmp_path, source) for _ in range(2)] == [["trained"], ["trained"]]


@pytest.mark.usefixtures("launcher")
def test_without_a_server_the_kernel_starts_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(warm.SOCKET_VARIABLE, str(tmp_path / "nobody.sock"))
    assert _run(tmp_path, "print('cold')") == ["cold"]


def test_a_kernel_dies_with_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_WARM_IMPORTS", "json")
    server = Server({"KERAS_BACKEND": "tensorflow"}, tmp_path / "log")
    server.start(tmp_path)
    assert server.wait()
    monkeypatch.setenv(warm.SOCKET_VARIABLE, str(server.path))
    (tmp_path / "connection.json").write_text("{}")
    forked = request_fork([sys.executable, "-f", str(tmp_path / "connection.json")], dict(os.environ), str(tmp_path))
    server.stop()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(forked.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert forked.poll() == 0
    assert not server.path.exists()


def test_a_runtime_that_came_up_is_noticed() -> None:
    import keras

    keras.ops.ones((1,))
    assert runtime_started() == "TensorFlow's runtime"


@pytest.mark.usefixtures("fork_server")
def test_a_run_forks_its_server_from_the_one_that_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - environment.at_start().keys():
        monkeypatch.delenv(name)
    server = Server(import_environment(find_backend(), default_data_dir()), tmp_path / "log")
    begun = time.monotonic()
    server.start(tmp_path)
    assert server.wait() and time.monotonic() - begun < 1, (tmp_path / "log").read_text()
    monkeypatch.setenv(warm.SOCKET_VARIABLE, str(server.path))
    monkeypatch.setenv("JUPYTER_PATH", str(warm.JUPYTER_PATH))
    printed = _run(tmp_path, "import sys\nprint('keras' in sys.modules)")
    assert printed == ["True"]
    server.stop()
    assert not server.path.exists()


@pytest.mark.usefixtures("fork_server")
def test_a_server_that_imported_with_other_settings_is_not_used(tmp_path: Path) -> None:
    question = {"socket": str(tmp_path / "own.sock"), "owner": os.getpid(), "log": str(tmp_path / "log")}
    question |= {"interpreter": sys.executable, "folder": str(tmp_path)}
    chosen = environment.at_start() | import_environment(find_backend(), default_data_dir())
    with pytest.raises(ValueError, match="other settings"):
        ask_for_server(warm.socket_path(), question | {"environment": chosen | {"KERAS_BACKEND": "jax"}})
    with pytest.raises(ValueError, match="other versions"):
        ask_for_server(warm.socket_path(), question | {"environment": chosen, "interpreter": "/usr/bin/python"})
    same = Path(sys.executable).with_name("python3")  # as the scripts of Jupyter name it
    ask_for_server(warm.socket_path(), question | {"environment": chosen, "interpreter": str(same)}).terminate()
    started_by = {"COLUMNS": "77", "MAKELEVEL": "1", "PYENV_VERSION": "3.11.7", "_PYENV_INSTALL_PREFIX": "/usr"}
    ask_for_server(warm.socket_path(), question | {"environment": chosen | started_by}).terminate()


@pytest.mark.usefixtures("fork_server")
def test_a_kernel_has_the_bakeoff_of_its_own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bakeoff").mkdir()
    (tmp_path / "bakeoff" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PATH", str(warm.JUPYTER_PATH))
    code = "import sys\nprint('keras' in sys.modules)\nimport bakeoff\nprint(bakeoff.__file__)"
    assert _run(tmp_path, code) == [f"True\n{tmp_path / 'bakeoff' / '__init__.py'}"]


@pytest.mark.usefixtures("fork_server")
def test_a_kernel_of_another_python_is_not_forked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another Python"):
        request_fork(
            [str(tmp_path / "python"), "-f", str(tmp_path / "connection.json")], dict(os.environ), str(tmp_path)
        )


@pytest.mark.usefixtures("fork_server")
def test_a_run_s_server_ends_with_the_run(tmp_path: Path) -> None:
    run = subprocess.Popen(["sleep", "600"])
    chosen = environment.at_start() | import_environment(find_backend(), default_data_dir())
    question = {"socket": str(tmp_path / "own.sock"), "owner": run.pid, "log": str(tmp_path / "log")}
    question |= {"interpreter": sys.executable, "folder": str(tmp_path), "environment": chosen}
    server = ask_for_server(warm.socket_path(), question)
    assert server.poll() is None
    run.kill()
    run.wait()
    deadline = time.monotonic() + 5
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.poll() == 0 and not (tmp_path / "own.sock").exists()


@pytest.mark.usefixtures("launcher")
def test_a_kernel_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    """Its parent is the server, which goes on: a worker that is killed must not leave a kernel computing."""
    ask = (
        "import os, sys, time\nfrom bakeoff.warm.provisioner import request_fork\n"
        "kernel = request_fork([sys.executable, '-f', 'connection.json'], dict(os.environ), os.getcwd())\n"
        "print(kernel.pid, flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as asker:
        assert asker.stdout is not None
        kernel = psutil.Process(int(asker.stdout.readline()))
        assert kernel.is_running()
        asker.kill()
    psutil.wait_procs([kernel], timeout=5)
    assert not kernel.is_running()


@pytest.mark.usefixtures("launcher")
def test_what_a_kernel_started_ends_with_it(tmp_path: Path) -> None:
    (pid,) = _run(tmp_path, "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)")
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(int(pid))


def _start_server(path: Path, **more: str) -> subprocess.Popen[bytes]:
    """A server that has imported next to nothing."""
    chosen = environment.at_start() | {warm.SOCKET_VARIABLE: str(path), "BAKEOFF_WARM_IMPORTS": "json"} | more
    before = path.stat().st_ino if path.exists() else 0
    server = subprocess.Popen([sys.executable, "-m", "bakeoff.warm.server"], env=chosen, stdout=subprocess.DEVNULL)
    while not path.exists() or path.stat().st_ino == before:
        assert server.poll() is None
        time.sleep(0.02)
    return server


def test_a_server_that_ends_leaves_the_socket_of_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    first = _start_server(path)
    second = _start_server(path)
    first.terminate()
    first.wait()
    assert path.exists()
    second.terminate()
    second.wait()
    assert not path.exists() and not list(tmp_path.iterdir())


def test_a_server_never_signals_a_stranger_who_got_an_ended_kernel_s_number(tmp_path: Path) -> None:
    """It has reaped the kernel by then, and keeps no number of what it has reaped."""
    from bakeoff.warm import server

    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.returncode = 0  # the server reaps it
    while not server._has_ended(ended.pid):
        time.sleep(0.01)
    here, there = socket.socketpair()
    serving = server._Server(tmp_path / "s", 0, server._imports(sys.executable, {}), {ended.pid: here})
    with selectors.DefaultSelector() as choose:
        serving._reap(choose)
    assert serving.kernels == {} and there.recv(1) == b""  # and the kernel's end was said to whoever asked for it
    there.close()


@pytest.mark.parametrize("start", ["threading.Thread(target=signal.pause, daemon=True).start()", PAUSE])
def test_a_thread_that_came_up_in_the_server_is_noticed(start: str) -> None:
    """Threads of compiled libraries are not among Python's own."""
    code = (
        "import _thread, ctypes, os, signal, sys, threading\nfrom pathlib import Path\n"
        "from bakeoff.warm import server\n"
        "serving = server._Server(Path('s'), 0, server._imports(sys.executable, {}))\n"
        "serving._threads = server._count_threads()\nrequest = {'interpreter': sys.executable}\n"
        f"print(serving._refusal(request))\n{start}\nprint(serving._refusal(request), flush=True)\nos._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"\n.* threads? came up in the fork server; use --cold-kernels\n", done.stdout), done.stdout


AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


@AS_ROOT
def test_a_server_does_not_listen_in_a_folder_of_another_user() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        chosen = environment.at_start() | {warm.SOCKET_VARIABLE: f"{folder}/server.sock"}
        command = [sys.executable, "-m", "bakeoff.warm.server"]
        done = subprocess.run(command, env=chosen, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "belongs to another user; set BAKEOFF_WARM_SOCKET" in done.stderr


@AS_ROOT
def test_a_server_of_another_user_learns_nothing() -> None:
    listen = (
        "import os, socket, sys\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n"
        "print('ready', flush=True)\nprint(len(s.accept()[0].recv(100)))"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # which the other user can reach
        path = Path(folder) / "server.sock"
        path.parent.chmod(0o777)
        command = [sys.executable, "-c", listen, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None and other.stdout.readline() == "ready\n"
            with pytest.raises(PermissionError, match="another user"):
                ask_for_kernel(path, {"environment": dict(os.environ)})
            assert other.stdout.readline() == "0\n"
