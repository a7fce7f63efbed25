"""A task in a process that another system started, maybe on another machine, as Ray does its workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bakeoff import fast_imports, warm
from bakeoff.errors import StepError
from bakeoff.executors import Task
from bakeoff.executors.kernels import Kernels, shared_server
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.machine import Machine, numeric_variables, processor
from bakeoff.plan.resolve import import_environment, python_path
from bakeoff.plan.resources import usable_cores
from bakeoff.plan.software import package_versions
from bakeoff.plan.steps import Name
from bakeoff.run.execute import Job, Made
from bakeoff.run.inputs import execute_checked
from bakeoff.store import Store, host_name, unique_name
from bakeoff.store.staging import unseen

# What Ray gives each of its workers another way; a fork server serves several of them.
_OF_THE_WORKER = r"RAY_.*|OMP_NUM_THREADS|CUDA_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ROCR_VISIBLE_DEVICES"
TRIES = 4  # of a step whose worker or machine is lost
Outcome = TypeVar("Outcome")


class LostError(Exception):
    """A worker, or the machine that it was on, ended in the middle of a task."""


def until_done(task: Task, attempt: Callable[[], Outcome], say: Callable[[str], None]) -> Outcome:
    """What `attempt` gives, once one was not lost; StepError after TRIES of them."""
    lost = ""
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except LostError as error:
            lost = str(error)
            if number < TRIES:
                say(f"    {task.title}: its worker or machine was lost; it runs again ({number} of {TRIES - 1}).")
    raise StepError(task.job.stage, None, f"{TRIES} workers that ran it were lost ({lost}); run the command again")


@dataclass(frozen=True)
class Likeness:
    """What of a worker's machine must be as the plan's keys say, since numbers depend on it."""

    versions: Mapping[str, str]
    processor: str  # empty: no step computes on one
    variables: Mapping[str, str] = field(default_factory=dict)  # of the environment, those that change numbers

    def fault(self) -> str:
        """In words, what is another here; nothing where all is as it must be."""
        here = package_versions()
        for name in sorted({*self.versions, *here}):
            if here.get(name) != self.versions.get(name):
                return f"has {name} {here.get(name, 'missing')} where this run has {self.versions.get(name, 'none')}"
        own = numeric_variables()
        for name in sorted({*self.variables, *own}):
            if own.get(name) != self.variables.get(name):
                mine, theirs = (each.get(name, "nothing") for each in (own, self.variables))
                return f"has {name} set to {mine} where this run has {theirs}; set it there as here"
        if self.processor and processor() != self.processor:
            return f"has another processor ({processor()}), on which numbers may differ in their last digits"
        return ""


def likeness(machine: Machine) -> Likeness:
    """What workers for a plan that was made for `machine` must have."""
    return Likeness(package_versions(), "" if machine.gpus else machine.processor, numeric_variables())


def fault_here(alike: Likeness, run_folder: Path | None) -> str:
    """In words, why steps of a run cannot be executed here; nothing where they can.

    `run_folder`: the run's locked folder, which is to be seen here; None: it need not.
    """
    return alike.fault() or (unseen(run_folder) if run_folder else "")


def refuse(task: Task, fault: str) -> None:
    """Raise StepError where there is a fault, by which a task cannot be executed here or not with the same results."""
    if fault:
        raise StepError(task.job.stage, None, f"the machine {host_name()} {fault}")


def execute_here(task: Task, run_folder: Path, alike: Likeness, cold_kernels: bool, group: str) -> Made:
    """Execute a task in a folder that is this attempt's alone, so that a lost worker that lives on disturbs nothing.

    `group` names the workers on this machine that share one import of the libraries.
    """
    refuse(task, fault_here(alike, run_folder))
    attempt = task.job.folder / f"attempt-{unique_name()}"
    job = moved(task.job, {task.job.folder: attempt})
    return replace(execute_with_kernel(job, task.store, task.parents, cold_kernels, group), folder=attempt)


def execute_with_kernel(job: Job, store: Store, parents: Iterable[Name], cold_kernels: bool, group: str) -> Made:
    """Execute a job whose paths are this machine's, with a kernel of this process."""
    made = execute_checked(equipped(job, cold_kernels, group), store, parents)
    return replace(made, machine=this_machine())


def this_machine() -> dict[str, Any]:
    """What is written down of a worker's machine."""
    return {"cores": usable_cores()}


def equipped(job: Job, cold_kernels: bool, group: str) -> Job:
    """The job with a kernel of this process' fork server, and with the GPUs that this process was given."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if job.environment.get("CUDA_VISIBLE_DEVICES") != "-1" else "-1"
    environment = {**job.environment, "CUDA_VISIBLE_DEVICES": gpus}
    names = import_environment("", Path()).keys()
    imported_with = {name: environment[name] for name in names if name in environment}
    imported_with["PYTHONPATH"] = python_path(PROJECT)
    kernels = _kernels(tuple(sorted(imported_with.items())), cold_kernels, group)
    return kernels.equip(replace(job, environment=environment))


@cache
def _kernels(imported_with: tuple[tuple[str, str], ...], cold: bool, group: str) -> Kernels:
    """The fork server of this process; forked from one that all of the group's processes here share."""
    fast_imports()
    environment, quiet = dict(imported_with), Path(os.devnull)
    standing = None if cold or not warm.supported() else shared_server(group, environment, _OF_THE_WORKER)
    return Kernels(environment, quiet, lambda _: None, cold, standing=standing, hidden=_OF_THE_WORKER)


def moved(job: Job, moves: Mapping[Path, Path]) -> Job:
    """The job with every path at or below a folder among `moves` where that folder is now."""
    texts = {str(old): str(new) for old, new in moves.items()}

    def path(value: str) -> str:
        for old, new in texts.items():
            if value == old or value.startswith(f"{old}{os.sep}"):
                return new + value[len(old) :]
        return value

    def text(value: str) -> str:
        return os.pathsep.join(map(path, value.split(os.pathsep)))

    def path_of(given: Path | None) -> Path | None:
        return Path(path(str(given))) if given else None

    def value(given: Any) -> Any:
        if isinstance(given, str):
            return text(given)
        if isinstance(given, Mapping):
            return {name: value(each) for name, each in given.items()}
        return given

    return replace(
        job,
        notebook=Path(path(str(job.notebook))),
        folder=Path(path(str(job.folder))),
        parameters={**job.parameters, **{name: value(job.parameters[name]) for name in ("inputs", "output")}},
        environment=value(job.environment),
        published=path_of(job.published),
        failed=path_of(job.failed),
    )
