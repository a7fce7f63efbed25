"""A jupyter_client kernel provisioner that asks the fork server for a kernel; without a server, the ordinary one."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from bakeoff.warm import socket_path

_CLOSE_LOOK_SECONDS = 0.5


class WarmProvisioner(LocalProvisioner):
    """LocalProvisioner whose process is forked by the server; everything else is inherited."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel with `cmd`'s arguments, the given environment and folder."""
        forked = None
        if "-f" in cmd:  # all that follows is meant for ipykernel: nbclient adds that no history is kept
            with suppress(OSError, ValueError):
                forked = request_fork(cmd[cmd.index("-f") :], dict(kwargs.get("env") or os.environ), kwargs.get("cwd"))
        if forked is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = forked  # type: ignore[assignment]
        self.pid = self.pgid = forked.pid  # the child leads a session of its own
        self.cwd = kwargs.get("cwd")
        return self.connection_info

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Look closely for the end that was asked for: jupyter_client by itself looks ten times a second."""
        end = time.monotonic() + _CLOSE_LOOK_SECONDS
        while time.monotonic() < end and await self.poll() is None:
            await asyncio.sleep(0.005)


class ForkedProcess:
    """What subprocess.Popen offers, for a process that is somebody else's child. Watched through a pidfd."""

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


def request_fork(arguments: list[str], environment: dict[str, str], folder: str | None) -> ForkedProcess:
    """Ask the server for a kernel with these arguments of ipykernel.

    Raises OSError when no server listens, ValueError when it refuses.
    """
    question = {"arguments": arguments, "environment": environment, "folder": str(folder or Path.cwd())}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        connection.connect(str(socket_path()))
        connection.sendall(json.dumps(question).encode() + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
    if "pid" not in answer:
        raise ValueError(answer.get("refused", "the fork server gave no process"))
    return ForkedProcess(answer["pid"])
