"""A run's fork server, seen from the run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bakeoff.warm import OWNER_VARIABLE, SOCKET_VARIABLE, socket_path
from bakeoff.warm.process import ForkedServer, ask_for_server

SOCKET = "server.sock"
_END_SECONDS = 2.0
_ANSWER_SECONDS = 5.0  # a standing server forks in a fraction of one; imports take longer


class Server:
    """The fork server as a part of a run: started in the background, gone when it is stopped or the run ends."""

    def __init__(
        self, environment: Mapping[str, str], log: Path, standing: Path | None = None, hidden: str = ""
    ) -> None:
        """`environment`: what libraries read when they are imported (KERAS_BACKEND, KERAS_HOME with a full path).

        `standing`: the socket of a server to fork from; None: of the user's own. `hidden`: a pattern of variables of
        this process that the server is not to see.
        """
        seen = {name: value for name, value in os.environ.items() if not re.fullmatch(hidden, name)}
        self._environment = seen | dict(environment)
        self._standing = standing
        self._log = log
        self._process: ForkedServer | subprocess.Popen[bytes] | None = None
        self.path = socket_path()

    def start(self, folder: Path) -> None:
        """Fork it from a server that stands, if one does that has imported the same, or begin with the imports.

        `wait` says when it serves. The socket lies in `folder`.
        """
        self.path = folder / SOCKET
        self._log.parent.mkdir(parents=True, exist_ok=True)
        own = {SOCKET_VARIABLE: str(self.path), OWNER_VARIABLE: str(os.getpid())}
        environment = self._environment | own
        question = {
            "socket": str(self.path),
            "owner": os.getpid(),
            "log": str(self._log.resolve()),
            "interpreter": sys.executable,
            "folder": str(Path.cwd()),
            "environment": environment,
        }
        with suppress(OSError, ValueError):
            self._process = ask_for_server(self._standing or socket_path(), question, _ANSWER_SECONDS)
            return
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
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if self.path.exists():
                return True
            time.sleep(0.02)
        return False

    def serves(self) -> bool:
        """Whether the server is there."""
        return self._process is not None and self._process.poll() is None and self.path.exists()

    def stop(self) -> None:
        """End the server and with it every kernel it forked."""
        if self._process is not None:
            self._process.terminate()  # it ends its kernels and what they started
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.path.unlink(missing_ok=True)
