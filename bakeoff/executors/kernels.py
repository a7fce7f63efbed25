"""Which kernel the jobs of a process get: one forked from its fork server where there is one, else a cold one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bakeoff import warm
from bakeoff.run.execute import Job
from bakeoff.store.scratch import claim, scratch_folder
from bakeoff.warm.client import SOCKET, Server

COLD_KERNEL = "python3"
_SERVER_SECONDS = 180.0
_LOOK_SECONDS = 0.05
_LONGEST_SOCKET_FOLDER = 80  # a socket's path has 104 bytes at most on some systems

_kept: list[object] = []  # what shall live as long as this process


@dataclass
class Kernels:
    """The fork server of this process, started when the first job needs it, and started again once if it dies.

    `environment` is what libraries read when they are imported.
    """

    environment: Mapping[str, str]
    log: Path
    say: Callable[[str], None]
    cold: bool = False
    meanwhile: Callable[[], object] = lambda: None  # done while the server imports
    standing: Path | None = None  # socket of a server to fork from; None: the user's own, if one stands
    hidden: str = ""  # pattern of variables that the server is not to see
    _server: Server | None = None
    _restarted: bool = False
    _scratch: Path | None = None
    _folders: ExitStack = field(default_factory=ExitStack)

    def equip(self, job: Job) -> Job:
        """The job with a kernel's name and with what its launcher must find in the environment."""
        name, environment = self.find()
        return replace(job, kernel=name, environment={**job.environment, **environment}, sockets=self._sockets())

    def find(self) -> tuple[str, dict[str, str]]:
        """The kernel's name and what its launcher must find in the environment; starts the fork server.

        No kernel reads anybody's start-up files of IPython.
        """
        own = {"IPYTHONDIR": str(self.folder() / "ipython")}
        self.cold = self.cold or not warm.supported()
        if self._server is not None and not self._server.serves():
            self._forget_server()
        if self._server is None and not self.cold:
            self._start_server()
        if self._server is None:
            return COLD_KERNEL, own
        path = os.pathsep.join([str(warm.JUPYTER_PATH), *filter(None, [os.environ.get("JUPYTER_PATH")])])
        return warm.KERNEL, {**own, "JUPYTER_PATH": path, warm.SOCKET_VARIABLE: str(self._server.path)}

    def _forget_server(self) -> None:
        """Say that it has ended; it is started again once."""
        self.stop()
        self.cold, self._restarted = self._restarted, True
        what = "kernels start cold from here on" if self.cold else "it is started again"
        self.say(f"The fork server has ended (see {self.log}); {what}.")

    def _start_server(self) -> None:
        self._server = Server(self.environment, self.log, self.standing, self.hidden)
        self._server.start(self.folder())
        self.meanwhile()
        if not self._server.wait():
            self.stop()
            self.cold = True
            self.say(f"The fork server did not start (see {self.log}); kernels start cold.")

    def folder(self) -> Path:
        """A folder for sockets that only this user can open; gone when the run ends."""
        if self._scratch is None:
            self._scratch = self._folders.enter_context(scratch_folder())
        return self._scratch

    def stop(self) -> None:
        """End the server with its kernels."""
        if self._server:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        """Remove the folder."""
        self.stop()
        self._folders.close()
        self._scratch = None

    def _sockets(self) -> Path | None:
        """Where kernels put their Unix sockets; None where there are none, or the folder's name is too long for one."""
        fits = hasattr(socket, "AF_UNIX") and len(str(self.folder())) < _LONGEST_SOCKET_FOLDER
        return self.folder() if fits and os.name == "posix" else None


def shared_server(group: str, environment: Mapping[str, str], hidden: str) -> Path:
    """The socket of a fork server of which all processes of a group on this machine fork theirs.

    The first of them starts it, by an exec, and it ends with that one; then another one starts the next.
    """
    end = time.monotonic() + _SERVER_SECONDS
    while time.monotonic() < end:
        folder, descriptor = claim(group)
        if descriptor is not None:
            server = Server(environment, folder / "fork-server.log", hidden=hidden)
            server.start(folder)
            server.wait()
            _kept.extend((descriptor, server))
            return server.path
        if (path := folder / SOCKET).exists():
            return path
        time.sleep(_LOOK_SECONDS)
    return folder / SOCKET
