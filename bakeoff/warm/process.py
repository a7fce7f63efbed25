"""Processes that the fork server started: asking for one, watching it, and ending with one's parent.

A number of a process is never used to find it again, since the system gives it to a stranger when the process is gone.
The server is the parent of what it forked, and keeps a number from being given away until it is done with it; others
hold a connection to the server, or a descriptor of the process that the server opened for them.
"""

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
_LONGEST_ANSWER = 4096


def die_with_parent(parent: int) -> None:
    """Have the system end this process when `parent`, which started it, ends; where it can, which is on Linux."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class _Forked:
    """What subprocess.Popen offers, for a process that is the fork server's child and leads a session of its own."""

    stdout = stderr = stdin = None

    def __init__(self, pid: int, descriptor: int) -> None:
        """`descriptor` can be read from when the process has ended."""
        self.pid = pid
        self._descriptor = descriptor

    def poll(self) -> int | None:
        """None while it lives, else 0: the exit status belongs to the server."""
        return None if not self._ended(0) else 0

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most `timeout` seconds."""
        self._ended(timeout)
        return 0

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process if it still lives."""
        raise NotImplementedError

    def _ended(self, timeout: float | None) -> bool:
        return self._descriptor < 0 or bool(select.select([self._descriptor], [], [], timeout)[0])


class ForkedKernel(_Forked):
    """A kernel, held by a connection: the server ends it with all that it started when the connection is closed, and
    closes the connection when the kernel has ended. So it never outlives whoever asked for it.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        super().__init__(pid, connection.fileno())
        self._connection = connection

    def send_signal(self, signum: int) -> None:
        """Have the server send a signal to the kernel and to what it started, if it still lives."""
        with suppress(OSError):
            self._connection.sendall(b"%d\n" % signum)

    def __del__(self) -> None:
        self._connection.close()


class ForkedServer(_Forked):
    """A run's fork server, forked by one that stands; held by a descriptor of the process."""

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process if it still lives."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signum)

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


def ask_for_kernel(server: Path, question: Mapping[str, Any], seconds: float = 60.0) -> ForkedKernel:
    """Ask the fork server at this socket for a kernel, and wait so long for it; see `_ask` for errors."""
    connection, answer, _ = _ask(server, question, seconds)
    connection.settimeout(None)
    return ForkedKernel(answer["pid"], connection)


def ask_for_server(server: Path, question: Mapping[str, Any], seconds: float = 60.0) -> ForkedServer:
    """Ask the fork server at this socket for one of one's own; see `_ask` for errors."""
    connection, answer, descriptors = _ask(server, question, seconds)
    connection.close()
    if not descriptors:
        raise ValueError("the fork server gave no descriptor of the process")
    return ForkedServer(answer["pid"], descriptors[0])


def _ask(server: Path, question: Mapping[str, Any], seconds: float) -> tuple[socket.socket, dict[str, Any], list[int]]:
    """The open connection, the answer, and descriptors that came with it.

    The question holds environment variables, and the process does one's work: a server of another user is not asked.

    Raises OSError when no server of this user listens or answers, ValueError when it refuses.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(str(server))
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid():
            raise PermissionError(f"the fork server at {server} belongs to another user")
        connection.sendall(json.dumps(question).encode() + b"\n")
        text, descriptors, _, _ = socket.recv_fds(connection, _LONGEST_ANSWER, 1)
        answer = json.loads(text)
        if "pid" not in answer:
            raise ValueError(answer.get("refused", "the fork server gave no process"))
    except BaseException:
        connection.close()
        raise
    return connection, answer, descriptors
