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
import secrets
import select
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from bakeoff.warm import OWNER_VARIABLE, SOCKET_VARIABLE, socket_path
from bakeoff.warm.process import die_with_parent

_LOOK_SECONDS = 2.0  # between two looks where nothing happens

# What the notebooks import and what imports cost; a name that is not installed is passed over.
MODULES = (
    *("keras", "numpy", "pandas", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "seaborn", "scipy.stats"),
    *("sklearn.metrics", "statsmodels.stats.proportion", "keras_tuner", "tensorflow_datasets"),
    *(
        "tensorboard.plugins.hparams.summary_v2",
        "tensorboard.plugins.scalar.summary_v2",
        "h5py",
        "ipykernel.kernelapp",
        "ipykernel.ipkernel",
        "IPython.display",
    ),
    # What each kernel imports on its way up.
    *("ipykernel.debugger", "debugpy.server", "IPython.core.completerlib", "IPython.core.debugger"),
    *("IPython.extensions.storemagic", "IPython.core.oinspect", "IPython.core.logger", "tornado.platform.asyncio"),
    "sqlite3",
)
_OF_JAX = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")  # settings that differ from step to step
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
    _Server(path, owner, imported).serve()


def _take_a_runs_environment() -> None:
    """Begin anew with what the libraries of a run read when they are imported, so that runs can use this server."""
    from bakeoff.plan.machine import find_backend
    from bakeoff.plan.resolve import default_data_dir, import_environment

    missing = import_environment(find_backend(), default_data_dir()).items() - os.environ.items()
    if missing:
        os.execve(sys.executable, [sys.executable, "-m", "bakeoff.warm.server"], os.environ | dict(missing))


@dataclass(frozen=True)
class _Imports:
    """What the outcome of importing depends on."""

    python: tuple[Path, Path]  # see _which
    installed: tuple[int, ...]  # when packages were installed last, for each folder of packages
    environment: dict[str, str]  # all but what says how a shell and its terminal stand
    settings: dict[str, Any]  # what keras.json says, which Keras reads when it is imported


def _imports(python: str, environment: Mapping[str, str]) -> _Imports:
    """What importing would depend on now, by this Python and with these variables."""
    from bakeoff.plan.machine import numeric_settings

    places = sorted({place for place in map(Path, sys.path) if place.name in ("site-packages", "dist-packages")})
    read = {name: value for name, value in environment.items() if not _OF_THE_SHELL.fullmatch(name)}
    return _Imports(
        _which(python), tuple(place.stat().st_mtime_ns for place in places if place.is_dir()), read, numeric_settings()
    )


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


@dataclass
class _Server:
    """A process that forks for requests at `path`, until `owner` (0: nobody) is gone or a signal comes."""

    path: Path
    owner: int
    imported: _Imports
    kernels: dict[int, socket.socket] = field(default_factory=dict)  # process -> the connection that holds it
    servers: list[int] = field(default_factory=list)  # of runs, which end with them
    _mine: list[Any] = field(default_factory=list)  # what no child may keep open
    _threads: int = 0

    def serve(self) -> None:
        """Listen and fork; in the end, end what was forked."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        self._threads = _count_threads()
        with ExitStack() as stack:
            choose = stack.enter_context(selectors.DefaultSelector())
            stack.callback(self._end)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            stack.callback(_unlink_own, self.path, _listen(listener, self.path))
            choose.register(listener, selectors.EVENT_READ, self._accept)
            choose.register(self._wake_up_for_children(), selectors.EVENT_READ, _drain)
            watch = self._watch_owner(choose)
            self._mine += [listener, choose]
            print("ready", flush=True)
            while not watch():
                for key, _ in choose.select(_LOOK_SECONDS):
                    key.data(key.fileobj, choose)
                self._reap(choose)

    def _watch_owner(self, choose: selectors.BaseSelector) -> Callable[[], bool]:
        """A question that says whether the owner is gone."""
        if not self.owner:
            return lambda: False
        try:
            descriptor = os.pidfd_open(self.owner)
        except ProcessLookupError:
            return lambda: True
        except OSError:  # a system without them: a stranger with the owner's number keeps the server alive, no more
            return lambda: not _there(self.owner)
        self._mine.append(descriptor)
        choose.register(descriptor, selectors.EVENT_READ, lambda *_: None)
        return lambda: bool(select.select([descriptor], [], [], 0)[0])

    def _wake_up_for_children(self) -> int:
        """A descriptor that can be read from when a child has ended."""
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._mine += [reading, writing]
        return reading

    def _accept(self, listener: Any, choose: selectors.BaseSelector) -> None:
        connection, _ = listener.accept()
        keep = False
        try:
            connection.settimeout(5)
            keep = self._answer(connection)
            if keep:
                connection.setblocking(False)
                choose.register(connection, selectors.EVENT_READ, self._listen_to)
        except (OSError, ValueError, KeyError):
            pass
        finally:
            if not keep:
                connection.close()

    def _listen_to(self, connection: Any, choose: selectors.BaseSelector) -> None:
        """Pass on signals to a kernel; end it when whoever asked for it is gone."""
        pid = next((pid for pid, each in self.kernels.items() if each is connection), None)
        if pid is None:
            return
        try:
            numbers = [int(line) for line in connection.recv(1024).split()]
        except BlockingIOError:
            return
        except (OSError, ValueError):
            numbers = []
        if not numbers:  # closed
            choose.unregister(connection)
            numbers = [signal.SIGKILL]
        for number in numbers:
            _signal_group(pid, number)

    def _answer(self, connection: socket.socket) -> bool:
        """Fork for one request; whether the connection holds the child, which never returns."""
        request = json.loads(connection.makefile("rb").readline())
        refusal = self._refusal(request)
        if refusal:
            connection.sendall(json.dumps({"refused": refusal}).encode() + b"\n")
            return False
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(request, connection, server)
        answer = json.dumps({"pid": pid}).encode() + b"\n"
        if "socket" in request:
            self.servers.append(pid)
            descriptor = os.pidfd_open(pid)  # of the child and of nobody else: it was not reaped yet
            socket.send_fds(connection, [answer], [descriptor])
            os.close(descriptor)
            return False
        self.kernels[pid] = connection
        connection.sendall(answer)
        return True

    def _become(self, request: dict[str, Any], connection: socket.socket, server: int) -> NoReturn:
        """In the child: keep nothing of the server's open, and be what was asked for."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in [connection, *self.kernels.values(), *self._mine]:
                os.close(each) if isinstance(each, int) else each.close()
            with suppress(SystemExit):
                if "socket" in request:
                    _become_server(request, self.imported)
                else:
                    _become_kernel(request, server)
            status = 0
        except BaseException as error:
            print(f"fork server: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def _reap(self, choose: selectors.BaseSelector) -> None:
        """Take note of children that have ended; what a kernel started ends with it.

        Until it is reaped, no stranger gets a child's number, nor that of its group.
        """
        for pid in [pid for pid in self.kernels if _has_ended(pid)]:
            _signal_group(pid, signal.SIGKILL)
            connection = self.kernels.pop(pid)
            with suppress(KeyError, ValueError):
                choose.unregister(connection)
            connection.close()
            os.waitpid(pid, 0)
        for pid in [pid for pid in self.servers if _has_ended(pid)]:
            self.servers.remove(pid)
            os.waitpid(pid, 0)

    def _end(self) -> None:
        """Kill the kernels with all that they started: each leads a session of its own."""
        for pid in self.kernels:
            _signal_group(pid, signal.SIGKILL)

    def _refusal(self, request: dict[str, Any]) -> str:
        """Why a request cannot be met, or nothing."""
        more = _count_threads() - self._threads
        if (started := runtime_started()) or more > 0 or threading.active_count() > 1:
            return f"{started or 'a thread'} came up in the fork server; use --cold-kernels"
        return _mismatch(request, self.imported)


def _listen(listener: socket.socket, path: Path) -> tuple[int, int]:
    """Have the socket listen at `path`, in place of what is there; which file that is."""
    new = path.with_name(f".{os.getpid()}{secrets.token_hex(2)}")  # short: a socket's path has 104 bytes at most
    listener.bind(str(new))
    new.chmod(0o600)
    listener.listen(16)
    own = new.stat()
    new.replace(path)  # who finds it can connect
    return own.st_dev, own.st_ino


def _unlink_own(path: Path, own: tuple[int, int]) -> None:
    """Take away the socket, unless another server has put its own there since."""
    with suppress(FileNotFoundError):
        there = path.stat()
        if (there.st_dev, there.st_ino) == own:
            path.unlink()


def _drain(descriptor: Any, _: selectors.BaseSelector) -> None:
    with suppress(BlockingIOError):
        os.read(descriptor, 1024)


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _has_descriptors() -> bool:
    """Whether the system lets a process be held by a descriptor, as Linux does since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(pid: int, number: int) -> None:
    """Send a signal to a child that was not reaped yet, and to what it started; a child just forked has no group."""
    try:
        os.killpg(pid, number)
    except OSError:
        with suppress(OSError):
            os.kill(pid, number)


def _count_threads() -> int:
    """All threads of this process, those of compiled libraries, too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _mismatch(request: dict[str, Any], imported: _Imports) -> str:
    """Why what this server has imported is not what a request needs, or nothing."""
    if _which(request["interpreter"]) != imported.python:
        return "this fork server has imported other versions: it belongs to another Python"
    if "socket" in request:
        if not _has_descriptors():
            return "this system has no descriptors of processes, by which a run holds its server"
        wanted = _imports(request["interpreter"], request["environment"])
        if wanted.installed != imported.installed:
            return "this fork server has imported other versions"
        if (wanted.environment, wanted.settings) != (imported.environment, imported.settings):
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
    _Server(Path(request["socket"]), request["owner"], imported).serve()


def _become_kernel(request: dict[str, Any], server: int) -> None:
    """In the child: own session, environment, folder, threads and seeds; then an ordinary ipykernel."""
    os.setsid()
    die_with_parent(server)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    _limit_threads()
    _settle_jax()
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


def _settle_jax() -> None:
    """JAX, too, reads its settings when imported; those of XLA it reads when a backend comes up."""
    jax: Any = sys.modules.get("jax")
    for variable in _OF_JAX if jax else ():
        jax.config.update(variable.lower(), os.environ.get(variable) or None)


def _reseed() -> None:
    """Forked children share the parent's random state; give each its own."""
    seed = int.from_bytes(os.urandom(4), "little")
    random.seed(seed)
    sys.modules["numpy"].random.seed(seed)


if __name__ == "__main__":
    main()
