"""The fork server: does the imports once, then forks a kernel for each request on its Unix socket.

Start it by itself with `python -m bakeoff.warm.server`: `jupyter console --kernel bakeoff-warm` then starts at once,
and so does a run, whose own fork server is forked from this one.
Import only: a TensorFlow runtime, a JAX backend or CUDA in this process would break its children, so it refuses then.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import re
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.warm import OWNER_VARIABLE, SOCKET_VARIABLE, socket_path
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
# Variables that say how a shell and its terminal stand, or belong to what starts a command: make, pyenv, uv, pytest,
# Bakeoff itself.
_OF_THE_SHELL = re.compile(
    r"_|PATH|PWD|OLDPWD|SHLVL|PS1|TERM.*|COLUMNS|LINES|WINDOWID|STY|TMUX.*|SSH_.*|VIRTUAL_ENV.*"
    r"|MAKE.*|MFLAGS|_?PYENV_.*|UV(_.*)?|PYTEST_.*|BAKEOFF_(?!WARM_IMPORTS).*"
)


def main() -> None:
    """Import, then serve until the owner (environment BAKEOFF_WARM_OWNER, else nobody) is gone or a signal comes."""
    _take_a_runs_environment()
    owner = int(os.environ.get(OWNER_VARIABLE, "0"))
    path = socket_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        sys.exit(f"{path.parent} belongs to another user; set {SOCKET_VARIABLE} to a socket in a folder of your own.")
    imported = _imports(sys.executable, os.environ)
    import_modules()
    gc.freeze()  # what is imported stays shared with the children
    _serve(path, owner, imported)


def _take_a_runs_environment() -> None:
    """Begin anew with what the libraries of a run read when they are imported, so that runs can use this server."""
    from bakeoff.machine import find_backend
    from bakeoff.resolve import default_data_dir, import_environment

    missing = import_environment(find_backend(), default_data_dir()).items() - os.environ.items()
    if missing:
        os.execve(sys.executable, [sys.executable, "-m", "bakeoff.warm.server"], os.environ | dict(missing))


@dataclass(frozen=True)
class _Imports:
    """What the outcome of importing depends on."""

    python: tuple[Path, Path]  # see _which
    installed: tuple[int, ...]  # when packages were installed last, for each folder of packages
    environment: dict[str, str]  # all but what says how a shell and its terminal stand


def _imports(python: str, environment: Mapping[str, str]) -> _Imports:
    """What importing would depend on now, by this Python and with these variables."""
    places = sorted({place for place in map(Path, sys.path) if place.name in ("site-packages", "dist-packages")})
    read = {name: value for name, value in environment.items() if not _OF_THE_SHELL.fullmatch(name)}
    return _Imports(_which(python), tuple(place.stat().st_mtime_ns for place in places if place.is_dir()), read)


def _which(python: str) -> tuple[Path, Path]:
    """Environment and interpreter, by whichever name it was started there: python, python3, python3.11."""
    return Path(python).parent.resolve(), Path(python).resolve()


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


def _serve(path: Path, owner: int, imported: _Imports) -> None:
    """Listen at `path` and fork, until `owner` (0: nobody) is gone or a signal comes; then end what was forked."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end are reaped by the system
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    children: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, ExitStack() as stack:
        watched: list[Any] = [listener]
        if owner:
            watched.append(os.pidfd_open(owner))
            stack.callback(os.close, watched[-1])
        stack.callback(path.unlink, missing_ok=True)
        stack.callback(_end, children)
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        listener.bind(str(new))
        new.chmod(0o600)
        listener.listen(16)
        new.replace(path)  # who finds it can connect
        print("ready", flush=True)
        while select.select(watched, [], [])[0] == [listener]:
            connection, _ = listener.accept()
            with connection, suppress(OSError, ValueError, KeyError):
                connection.settimeout(5)
                _answer(connection, listener, children, imported)


def _end(children: list[int]) -> None:
    """Kill the kernels with all that they started: each leads a session of its own."""
    for pid in children:
        with suppress(OSError):
            if os.getsid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)


def _answer(connection: socket.socket, listener: socket.socket, children: list[int], imported: _Imports) -> None:
    """Fork for one request and note the child; the child never returns."""
    request = json.loads(connection.makefile("rb").readline())
    refusal = _refusal(request, imported)
    if refusal:
        connection.sendall(json.dumps({"refused": refusal}).encode() + b"\n")
        return
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            listener.close()
            connection.close()
            with suppress(SystemExit):
                if "socket" in request:
                    _become_server(request, imported)
                else:
                    _become_kernel(request, server)
            status = 0
        except BaseException as error:
            print(f"fork server: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    if "socket" not in request:  # a run's server ends with the run
        children.append(pid)
    connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _refusal(request: dict[str, Any], imported: _Imports) -> str:
    """Why a request cannot be met, or nothing."""
    started = runtime_started()
    if started or threading.active_count() > 1:
        return f"{started or 'a thread'} came up in the fork server; use --cold-kernels"
    if _which(request["python"]) != imported.python:
        return "this fork server has imported other versions: it belongs to another Python"
    if "socket" in request:
        wanted = _imports(request["python"], request["environment"])
        if wanted.installed != imported.installed:
            return "this fork server has imported other versions"
        if wanted.environment != imported.environment:
            return "this fork server has imported with other settings"
    return ""


def _become_server(request: dict[str, Any], imported: _Imports) -> None:
    """In the child: the fork server of a run, with its own session, environment, socket and log."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    with Path(request["log"]).open("wb") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    _serve(Path(request["socket"]), request["owner"], imported)


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
    _forget_bakeoff()
    sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place not in sys.path]
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=request["arguments"])


def _forget_bakeoff() -> None:
    """A notebook gets Bakeoff as its own path has it, and as it is now: the server may be another project's, or old."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "bakeoff"]:
        del sys.modules[name]


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


if __name__ == "__main__":
    main()
