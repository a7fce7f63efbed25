"""A jupyter_client kernel provisioner that asks the fork server for a kernel; without a server, the ordinary one."""

from __future__ import annotations

import asyncio
import os
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from bakeoff.warm import KERNEL, socket_path
from bakeoff.warm.process import ForkedKernel, ask_for_kernel

_CLOSE_LOOK_SECONDS = 0.5


class WarmProvisioner(LocalProvisioner):
    """LocalProvisioner whose process is forked by the server; everything else is inherited."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel with `cmd`'s arguments, the given environment and folder."""
        try:
            forked = request_fork(cmd, dict(kwargs.get("env") or os.environ), kwargs.get("cwd"))
        except (OSError, ValueError) as error:
            self.log.warning("No fork server gave a kernel (%s): this one starts cold.", error)
            return await super().launch_kernel(cmd, **kwargs)
        self.process = forked  # type: ignore[assignment]
        self.pid, self.pgid = forked.pid, None  # the server passes signals on, to the kernel's whole group
        self.cwd = kwargs.get("cwd")
        return self.connection_info

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Look closely for the end that was asked for: jupyter_client by itself looks ten times a second."""
        end = time.monotonic() + _CLOSE_LOOK_SECONDS
        while time.monotonic() < end and await self.poll() is None:
            await asyncio.sleep(0.005)


def make_known() -> None:
    """Have Jupyter find the provisioner in this process where Bakeoff was not installed: its folder is enough."""
    entry = EntryPoint(KERNEL, f"{__name__}:{WarmProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.provisioners.setdefault(KERNEL, entry)


def request_fork(command: list[str], environment: dict[str, str], folder: str | None) -> ForkedKernel:
    """Ask the server for the kernel that `command` (python -m ipykernel_launcher -f ...) would start.

    Raises what `ask` raises, and ValueError when the command names no connection file.
    """
    question = {
        "interpreter": command[0],
        "arguments": command[command.index("-f") :],  # all for ipykernel: nbclient adds that no history is kept
        "environment": environment,
        "folder": str(folder or Path.cwd()),
    }
    return ask_for_kernel(socket_path(), question)
