"""The client through which papermill talks to a kernel: jupyter_client's, without a pause at the start."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient

# Asked with every cell, so that a step that computes on another device than its key says is stopped early.
DEVICE = "bakeoff_device"
_EXPRESSIONS = {DEVICE: "__import__('bakeoff.lab.device', fromlist=['used']).used()"}


class PromptClient(AsyncKernelClient):
    """AsyncKernelClient that is ready when the kernel is, and asks with each cell what the kernel computes on.

    The original then listens a fifth of a second longer for messages that concern nobody. nbclient passes over those
    by itself: it goes by the request that a message answers.
    """

    def execute(self, code: str, *arguments: Any, **more: Any) -> str:
        """Execute a cell; its reply says what the kernel computes on."""
        return super().execute(code, *arguments, **{"user_expressions": _EXPRESSIONS, **more})

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output arrives; RuntimeError when it dies or `timeout` seconds pass."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while time.monotonic() < end:
            self.kernel_info()
            try:
                reply = await self.get_shell_msg(timeout=1)
                await self.get_iopub_msg(timeout=0.2)  # else its outputs do not come through yet: ask again
            except Empty:
                if not await self.is_alive():
                    raise RuntimeError("the kernel died before it answered") from None
            else:
                self._handle_kernel_info_reply(reply)
                return
        raise RuntimeError(f"the kernel did not answer within {timeout} seconds")
