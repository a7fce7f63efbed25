"""Where steps are executed. An executor takes a step's job with what it needs, and gives a future of what was made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bakeoff.errors import RequestError

if TYPE_CHECKING:
    from bakeoff.plan.machine import Machine
    from bakeoff.plan.steps import Name
    from bakeoff.run.execute import Job, Made
    from bakeoff.store import Store

EXECUTORS = ("local", "ray", "slurm")


class Needs(NamedTuple):
    """What a step takes while it runs."""

    cores: int = 1
    memory: int = 2**30  # bytes
    gpu_share: float = 0.0  # of one GPU; 0: computes on the CPU


@dataclass(frozen=True)
class Task:
    """A step as an executor gets it; nothing in it refers to the plan."""

    job: Job
    store: Store
    parents: tuple[Name, ...]
    needs: Needs
    title: str = ""  # what messages call it


class Executor(Protocol):
    """One way to have steps executed. `start` comes first, `stop` last; both may be called more than once."""

    def with_gpu(self, machine: Machine) -> Machine:
        """`machine` with the GPU that the workers have, which the plan's keys name; RequestError where none has one."""

    def start(self, run_folder: Path, machine: Machine) -> None:
        """Be ready for tasks of the run whose locked folder this is, planned for `machine`.

        Raises RequestError in one sentence where they could not be executed.
        """

    def capacity(self, machine: Machine) -> Machine:
        """What the schedule may hand out at once: `machine` itself, or one as large as all workers' together."""

    def free_memory(self) -> int:
        """Bytes that steps may take."""

    def takes(self, task: Task) -> bool:
        """Whether the workers see all that the task reads; else this machine's processes execute it."""

    def submit(self, task: Task) -> Future[Made]:
        """Have a task executed. The future's exception is a StepError or an OSError, or says that a worker was lost."""

    def stop(self, at_once: bool = False) -> None:
        """End what was started, and leave no process; `at_once`: cancel the tasks that are not done."""


@dataclass(frozen=True)
class Wish:
    """What the command line says about executors."""

    name: str = "local"
    ray_address: str | None = None
    transfer: bool = False  # the workers see no folder of this machine
    slurm: tuple[str, ...] = ()  # NAME=VALUE, options of sbatch
    device: str | None = None  # cpu or gpu; None: what this machine has


def make_executor(wish: Wish, cold_kernels: bool, jobs: int, say: Callable[[str], None]) -> Executor | None:
    """The executor that was asked for; None: the runner's own worker processes.

    Raises RequestError where its package is not installed.
    """
    if wish.name == "local":
        return None
    try:
        if wish.name == "slurm":
            from bakeoff.executors.slurm import SlurmExecutor

            return SlurmExecutor(wish.slurm, jobs, say)
        from bakeoff.executors.ray import RayExecutor

        return RayExecutor(wish.ray_address, wish.transfer, cold_kernels, jobs, say)
    except ImportError as error:
        raise RequestError(
            f"--executor {wish.name} needs a package that is not installed ({error.name}): run "
            f"`.venv/bin/uv pip install --python .venv -c requirements.lock -e '.[{wish.name}]'`"
        ) from None
