"""Several runs on one store: each step is made by one of them, and the others wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.plan import Step
from bakeoff.store import Store

if TYPE_CHECKING:
    from filelock import FileLock

_LOOK_SECONDS = 0.1


def try_lock(path: Path) -> FileLock | None:
    """The lock, held by this process, or None while another one holds it.

    The system frees it when the process that holds it ends, however it ends.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


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
        lock = try_lock(self.store.lock(*step.name))
        if lock is None:
            if step.name not in self._waited:
                self._waited.add(step.name)
                self.say(f"    {step.stage.name} {', '.join(step.variants)}: another run makes it; waiting.")
            return False
        self._held[step.name] = lock
        return True

    def is_free(self, step: Step) -> bool:
        """Whether no run makes the step just now."""
        lock = try_lock(self.store.lock(*step.name))
        if lock is not None:
            lock.release()
        return lock is not None

    def release(self, step: Step) -> None:
        """Free the step for others."""
        lock = self._held.pop(step.name, None)
        if lock is not None:
            with suppress(OSError):
                lock.release()
