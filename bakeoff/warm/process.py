"""Processes that the fork server started: asking for one, watching it, and ending with one's parent."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the system end this process when `parent`, which started it, ends; where it can, which is on Linux."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class ForkedProcess:
    """What subprocess.Popen offers, for a process that is somebody else's child and leads a session; by a pidfd."""

    stdout = stderr = stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        with suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it lives, else 0: the exit status belongs to the server."""
        if self._descriptor is None:
            return 0
        ended, _, _ = select.select([self._descriptor], [], [], 0)
        if ended:
            self._close()
            return 0
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most `timeout` seconds."""
        if self._descriptor is not None and select.select([self._descriptor], [], [], timeout)[0]:
            self._close()
        return 0

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process if it still lives."""
        if self._descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signum)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _close(self) -> None:
        """It has ended: so does what it started, which is of its group."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            os.close(self._descriptor)
            self._descriptor = None


def ask(server: Path, question: Mapping[str, Any], seconds: float = 60.0) -> ForkedProcess:
    """Ask the fork server at this socket for a process, and wait so long for it.

    The question holds environment variables, and the process does one's work: a server of another user is not asked.

    Raises OSError when no server of this user listens or answers, ValueError when it refuses.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(str(server))
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid():
            raise PermissionError(f"the fork server at {server} belongs to another user")
        connection.sendall(json.dumps(question).encode() + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
    if "pid" not in answer:
        raise ValueError(answer.get("refused", "the fork server gave no process"))
    return ForkedProcess(answer["pid"])
