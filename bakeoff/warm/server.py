"""The fork server: does the imports once, then forks a kernel for each request on its Unix socket.

Start it by itself with `python -m bakeoff.warm.server`; `jupyter console --kernel bakeoff-warm` then starts at once.
Import only: a TensorFlow runtime, a JAX backend or CUDA in this process would break its children, so it refuses then.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bakeoff.warm import socket_path
from bakeoff.warm.process import die_with_parent

# What the notebooks import and what imports cost; a name that is not installed is passed over.
MODULES = (
    *("keras", "numpy", "pandas", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "seaborn", "scipy.stats"),
    *("sklearn.metrics", "statsmodels.stats.proportion", "keras_tuner", "tensorflow_datasets"),
    *("tensorboard.plugins.hparams.api", "h5py", "ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.display"),
    # What each kernel imports on its way up.
    *("ipykernel.debugger", "debugpy.server", "IPython.core.completerlib", "IPython.core.debugger"),
    *("IPython.extensions.storemagic", "IPython.core.oinspect", "IPython.core.logger", "tornado.platform.asyncio"),
    "sqlite3",
)


def main() -> None:
    """Import, listen, fork, until the owner (environment BAKEOFF_WARM_OWNER) is gone or a signal comes."""
    path = socket_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    import_modules()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end are reaped by the system
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.freeze()  # what is imported stays shared with the children
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        listener.settimeout(1.0)
        print("ready", flush=True)
        try:
            _serve(listener)
        finally:
            path.unlink(missing_ok=True)


def import_modules() -> None:
    """Import MODULES, or what the environment's BAKEOFF_WARM_IMPORTS names, separated by commas."""
    names = os.environ.get("BAKEOFF_WARM_IMPORTS")
    for name in names.split(",") if names else MODULES:
        with suppress(ImportError):
            importlib.import_module(name)


def runtime_started() -> str:
    """The name of a runtime that came up in this process, or nothing: a fork after that is not safe."""
    context = sys.modules.get("tensorflow.python.eager.context")
    if context is not None and getattr(context.context(), "_context_handle", None) is not None:
        return "TensorFlow's runtime"
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None):
        return "a JAX backend"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA in PyTorch"
    return ""


def _serve(listener: socket.socket) -> None:
    owner = int(os.environ.get("BAKEOFF_WARM_OWNER", "0"))
    kernels: list[int] = []
    try:
        while not owner or os.getppid() == owner:
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    with suppress(OSError, ValueError, KeyError):
                        _answer(connection, listener, kernels)
    finally:
        _end(kernels)


def _end(kernels: list[int]) -> None:
    """Kill the kernels with all that they started: each leads a session of its own."""
    for pid in kernels:
        with suppress(OSError):
            if os.getsid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)


def _answer(connection: socket.socket, listener: socket.socket, kernels: list[int]) -> None:
    """Fork for one request and note the child; the child never returns."""
    request = json.loads(connection.makefile("rb").readline())
    started = runtime_started()
    if started or threading.active_count() > 1:
        refusal = {"refused": f"{started or 'a thread'} came up in the fork server; use --cold-kernels"}
        connection.sendall(json.dumps(refusal).encode() + b"\n")
        return
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            listener.close()
            connection.close()
            _become_kernel(request, server)
            status = 0
        except BaseException as error:
            print(f"warm kernel: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    kernels.append(pid)
    connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _become_kernel(request: dict[str, Any], server: int) -> None:
    """In the child: own session, environment, folder, threads and seeds; then an ordinary ipykernel."""
    os.setsid()
    die_with_parent(server)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    _limit_threads()
    _reseed()
    sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place not in sys.path]
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=request["arguments"])


def _limit_threads() -> None:
    """Numerical libraries read their thread count when imported, which was before the environment was set."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(threads))


def _reseed() -> None:
    """Forked children share the parent's random state; give each its own."""
    seed = int.from_bytes(os.urandom(4), "little")
    random.seed(seed)
    sys.modules["numpy"].random.seed(seed)


_END_SECONDS = 2.0


class Server:
    """The fork server as a part of a run: started in the background, gone when the `with` block ends."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """`environment`: what libraries read when they are imported (KERAS_BACKEND, KERAS_HOME with a full path)."""
        self._environment = dict(environment)
        self._log = log
        self._process: Any = None
        self.path = socket_path()

    def start(self, folder: Path) -> None:
        """Start importing; `wait` says when it serves. The socket lies in `folder`."""
        self.path = folder / "server.sock"
        environment = os.environ | {
            "BAKEOFF_WARM_SOCKET": str(self.path),
            "BAKEOFF_WARM_OWNER": str(os.getpid()),
            **self._environment,
        }
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bakeoff.warm.server"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait(self, seconds: float = 180.0) -> bool:
        """Whether the server serves; waits for its imports."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.path.exists():
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End the server and with it every kernel it forked."""
        if self._process is not None:
            self._process.terminate()  # it ends its kernels and what they started
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
