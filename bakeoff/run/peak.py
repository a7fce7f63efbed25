"""How much memory a step's kernel took at most: what the next run reserves for it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LOOK_SECONDS = 0.25
_PEAK = "VmHWM:"  # Linux keeps the highest resident size of each process itself


class PeakMemory:
    """The peak of the kernel that works in a folder, found by that. Use it in a `with`; `bytes` is None where it was
    not seen: very short steps, or a system that does not tell.
    """

    def __init__(self, folder: Path) -> None:
        self.bytes: int | None = None
        self._folder = os.path.realpath(folder)
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    def _look(self) -> None:
        import psutil

        kernel = None
        while not self._ended.wait(_LOOK_SECONDS):
            with suppress(psutil.Error, OSError):
                if kernel is None or not kernel.is_running():
                    kernel = self._find()
                if kernel is not None:
                    self.bytes = max(self.bytes or 0, _peak(kernel))

    def _find(self) -> psutil.Process | None:
        import psutil

        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # another user's, or gone meanwhile
                if process.pid != os.getpid() and process.cwd() == self._folder:
                    return process
        return None


def _peak(process: psutil.Process) -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(_PEAK)).split()[1]) * 1024
    return int(process.memory_info().rss)
