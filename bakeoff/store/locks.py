"""Several runs on one store: each step is made by one of them, and the others wait for it.

A lock saves work and nothing else: where two hosts do not see each other's, both make a step and the first one counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.plan.steps import Step
from bakeoff.store import Store, host_name

if TYPE_CHECKING:
    from filelock import FileLock

_LOOK_SECONDS = 0.1
_HOLDER = "process "  # how the text in a lock file begins


def try_lock(path: Path, seconds: float = 0) -> FileLock | None:
    """The lock, held by this process, or None while another one holds it for `seconds` on.

    The system frees it when the process that holds it ends, however it ends.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return None
    return lock


def is_held(path: Path) -> bool:
    """Whether a process holds this lock now."""
    if not path.is_file() or path.is_symlink():
        return False
    lock = try_lock(path)
    if lock is not None:
        lock.release()
    return lock is None


@contextmanager
def alone(path: Path, say: Callable[[str], None], what: str) -> Iterator[None]:
    """Hold the lock `path` for the block; says what is waited for."""
    lock = try_lock(path)
    if lock is None:
        say(f"Another run is writing {what}; waiting for it.")
    while lock is None:
        time.sleep(_LOOK_SECONDS)
        lock = try_lock(path)
    try:
        yield
    finally:
        lock.release()


@dataclass
class Locks:
    """The locks of the steps that this run makes."""

    store: Store
    say: Callable[[str], None]
    _held: dict[tuple[str, str], FileLock] = field(default_factory=dict)
    _waited: set[tuple[str, str]] = field(default_factory=set)

    def take(self, step: Step) -> bool:
        """Whether this run may make the step now; False while another one makes it."""
        path = self.store.lock(*step.name)
        lock = try_lock(path)
        if lock is None:
            if step.name not in self._waited:
                self._waited.add(step.name)
                what = f"{step.stage.name} {', '.join(step.variants)}".rstrip()
                self.say(f"    {what}: another run{_holder(path)} makes it; waiting.")
            return False
        self._held[step.name] = lock
        _sign(path)
        return True

    def is_free(self, step: Step) -> bool:
        """Whether no run makes the step just now."""
        return not is_held(self.store.lock(*step.name))

    def release(self, step: Step) -> None:
        """Free the step for others; the lock file goes while it is held, so that nobody's is taken away."""
        lock = self._held.pop(step.name, None)
        if lock is not None:
            with suppress(OSError):
                self.store.lock(*step.name).unlink(missing_ok=True)
            with suppress(OSError):
                lock.release()


def _sign(path: Path) -> None:
    """Write into a lock that is held who holds it; not over what a lock without flock has written there itself."""
    with suppress(OSError, ValueError):
        if not (text := path.read_text(encoding="utf-8")) or text.startswith(_HOLDER):
            path.write_text(f"{_HOLDER}{os.getpid()} on {host_name()}", encoding="utf-8")


def _holder(path: Path) -> str:
    """Who holds a lock, in brackets; nothing where that is not known."""
    with suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8")
        return f" ({text})" if text.startswith(_HOLDER) else ""
    return ""
