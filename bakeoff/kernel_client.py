"""The client through which papermill talks to a kernel: jupyter_client's, without a pause at the start."""

from __future__ import annotations

import time
from queue import Empty

from jupyter_client.asynchronous import AsyncKernelClient


class PromptClient(AsyncKernelClient):
    """AsyncKernelClient that is ready when the kernel is.

    The original then listens a fifth of a second longer for messages that concern nobody. nbclient passes over those
    by itself: it goes by the request that a message answers.
    """

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
