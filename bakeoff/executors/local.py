"""Worker processes on this machine. One that dies fails the job that it had, and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bakeoff import fast_imports
from bakeoff.executors import Task
from bakeoff.executors.kernels import Kernels
from bakeoff.plan.machine import Machine
from bakeoff.plan.resources import free_memory
from bakeoff.run.execute import Made
from bakeoff.run.inputs import execute_checked
from bakeoff.warm.process import die_with_parent

Result = TypeVar("Result")


@dataclass
class _Worker:
    """One process, as a pool of its own: a pool of several fails as a whole when one of its processes dies."""

    pool: ProcessPoolExecutor
    jobs: list[Future[Any]] = field(default_factory=list)

    def waiting(self) -> int:
        """How many jobs it has not ended."""
        self.jobs = [job for job in self.jobs if not job.done()]
        return len(self.jobs)


@dataclass
class LocalExecutor:
    """At most `count` processes, started as they are needed: papermill's imports stay out of the command."""

    count: int
    kernels: Kernels
    _all: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kernels.meanwhile = lambda: self._work(_import_papermill)

    def with_gpu(self, machine: Machine) -> Machine:
        """This machine, if it has one."""
        return machine

    def start(self, run_folder: Path, machine: Machine) -> None:
        """Nothing is to be done: a worker is started with its first task."""

    def capacity(self, machine: Machine) -> Machine:
        """This machine's."""
        return machine

    def free_memory(self) -> int:
        """This machine's, now."""
        return free_memory()

    def takes(self, task: Task) -> bool:
        """They see all that the command sees."""
        return True

    def submit(self, task: Task) -> Future[Made]:
        """Have a process execute the task; the result is BrokenProcessPool when the process dies meanwhile."""
        return self._work(execute_checked, self.kernels.equip(task.job), task.store, task.parents)

    def _work(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a process do `work(*arguments)`."""
        while True:
            worker = self._free()
            try:
                job = worker.pool.submit(work, *arguments)
            except BrokenProcessPool:  # it has died since its last job
                self._all.remove(worker)
                worker.pool.shutdown(wait=False)
                continue
            worker.jobs.append(job)
            return job

    def stop(self, at_once: bool = False) -> None:
        """End the processes; `at_once`: in the middle of their work."""
        for worker in self._all if at_once else ():
            for process in list(getattr(worker.pool, "_processes", None) or {}):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        self.kernels.stop()  # after killed workers, which would start a kernel of their own where none is forked
        for worker in self._all:
            worker.pool.shutdown(cancel_futures=True)
        self._all.clear()

    def _free(self) -> _Worker:
        """The worker with the least to do; a new one where all have something and there may be more."""
        free = min(self._all, key=_Worker.waiting, default=None)
        if free is None or (free.waiting() and len(self._all) < self.count):
            context = multiprocessing.get_context("spawn")
            free = _Worker(ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(os.getpid(),)))
            self._all.append(free)
        return free


def _begin(owner: int) -> None:
    """A worker leaves Ctrl-C to the command, and ends with it whatever ends the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(owner)
    fast_imports()


def _import_papermill() -> None:
    import papermill  # noqa: F401
