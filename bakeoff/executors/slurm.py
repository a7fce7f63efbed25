"""Slurm queues steps on a cluster, a job each. What is preempted, timed out or lost runs again, from its checkpoint."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError

from bakeoff.errors import RequestError, StepError
from bakeoff.executors import Needs, Task
from bakeoff.executors.remote import Likeness, LostError, execute_here, fault_here, likeness, until_done
from bakeoff.plan.machine import Machine, find_gpus
from bakeoff.plan.resources import free_memory
from bakeoff.run.execute import Made
from bakeoff.store.digests import DigestCache
from bakeoff.store.scratch import scratch_folder

_LOOK_SECONDS = 0.5  # between two looks for a job's result
_ASK_SECONDS = 5.0  # between two questions to the queue, for all jobs together
_LATE_SECONDS = 15.0  # a result may be seen so long after its job has left the queue: folders of a network are slow
_GRACE_SECONDS = 30.0  # between Slurm's word that a job is to end and its end
_SMALL = Needs(1, 2**29)
_ENDLESS = 2**60
_MOST_THREADS = 1000
_MOST_TIMEOUTS = 1000  # of a step that goes on from its checkpoint each time
_CLUSTERS = ("slurm", "local")
_GPUS = re.compile(r"gpu:(?:[\w.-]+:)?(\d+)")  # "gpu:4" or "gpu:a100:4"


@dataclass(frozen=True)
class _Job:
    """What a job does; when Slurm says that its time is up, the same once more."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self) -> Any:
        """Failures of a step are values, so that all else is a lost job.

        Slurm ends kernels, too: a step that fails once its job was told to end has not failed.
        """
        told: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        try:
            return self.work(*self.arguments)
        except (StepError, OSError) as error:
            if told:
                time.sleep(_GRACE_SECONDS)  # where it is to be queued again, submitit is told so meanwhile
                sys.exit(1)
            return error

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again; the step itself goes on from its own checkpoint."""
        return submitit.helpers.DelayedSubmission(self)


@dataclass(frozen=True)
class _Node:
    cores: int
    memory: int  # bytes; 0: Slurm does not know
    gpus: int


class SlurmExecutor:
    """A job of submitit's a step; its kernels start cold, since nothing outlives a job."""

    def __init__(self, settings: tuple[str, ...], jobs: int, say: Callable[[str], None]) -> None:
        """`settings`: NAME=VALUE, as sbatch has them without dashes; "cluster=local": no Slurm, processes here."""
        self._settings = dict(_setting(each) for each in settings)
        self._cluster = self._settings.pop("cluster", "slurm")
        self._say = say
        if self._cluster not in _CLUSTERS:
            raise RequestError(f"--slurm cluster={self._cluster}: write one of {', '.join(_CLUSTERS)}")
        if self._cluster == "slurm" and not all(map(shutil.which, ("sbatch", "srun", "squeue", "sinfo"))):
            raise RequestError(
                "--executor slurm: this machine has no sbatch; run the command where the cluster's jobs are submitted"
            )
        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it warns where Slurm keeps no accounts
        self._threads = ThreadPoolExecutor(jobs or _MOST_THREADS)  # one waits for each step
        self._lock = threading.Lock()
        self._running: dict[str, Any] = {}
        self._queue: set[str] = set()
        self._asked = 0.0
        self._ending = False
        self._run_folder = Path()
        self._alike = Likeness({}, "")

    def with_gpu(self, machine: Machine) -> Machine:
        """The machine with the kind of GPU that a first job finds."""
        if not any(node.gpus for node in self._nodes):
            raise RequestError(
                "--device gpu: no node that Slurm names here has a GPU; choose another --slurm partition"
            )
        folder = Path.cwd() / f".slurm-{os.getpid()}"
        try:
            kind, cudnn = self._ask(folder, _SMALL._replace(gpu_share=1.0), _gpu, machine.backend)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not kind:
            raise RequestError(f"--device gpu: {machine.backend} cannot compute on the GPU of a node; mend it there")
        return replace(machine, gpus=("0",), gpu=kind, cudnn=cudnn)

    def start(self, run_folder: Path, machine: Machine) -> None:
        """A first job looks whether steps can be executed where jobs run."""
        self._run_folder, self._alike = run_folder, likeness(machine)
        self._say(f"{self._place()}: a first job looks whether steps can be executed there.")
        fault = self._ask(self._jobs_folder, _SMALL, fault_here, self._alike, run_folder)
        if fault:
            raise RequestError(f"--executor slurm: a node {fault}")
        self._say(f"{self._place()}: {len(self._nodes)} nodes, {self.capacity(machine).cores} cores.")

    def capacity(self, machine: Machine) -> Machine:
        """That of all nodes; who is first, Slurm decides."""
        gpus = tuple(map(str, range(sum(node.gpus for node in self._nodes)))) if machine.gpus else ()
        return replace(machine, cores=max(1, sum(node.cores for node in self._nodes)), gpus=gpus)

    def free_memory(self) -> int:
        """Slurm gives each job its memory; without it, this machine's."""
        return _ENDLESS if self._cluster == "slurm" else free_memory()

    def takes(self, task: Task) -> bool:
        """Nodes see the folders that the command sees."""
        return True

    def submit(self, task: Task) -> Future[Made]:
        """Have a job execute the task, and another one where it is lost."""
        return self._threads.submit(self._execute, task)

    def stop(self, at_once: bool = False) -> None:
        """Cancel what is queued or runs."""
        self._ending = at_once
        for job in list(self._running.values()):
            job.cancel(check=False)
        self._threads.shutdown(cancel_futures=at_once)

    @property
    def _jobs_folder(self) -> Path:
        return self._run_folder / "jobs"

    def _place(self) -> str:
        return "Slurm" if self._cluster == "slurm" else "Jobs on this machine, without Slurm"

    def _execute(self, task: Task) -> Made:
        made = until_done(task, lambda: self._attempt(task), self._say)
        if isinstance(made, Exception):
            raise made
        return made

    def _attempt(self, task: Task) -> Made:
        work = _Job(execute_here, (task, self._run_folder, self._alike, True, ""))
        minutes = -(-task.job.timeout_seconds // 60)
        try:
            made: Made = self._result(self._begin(self._jobs_folder, task.title, task.needs, minutes, work))
            return made
        except FailedJobError as error:
            raise StepError(task.job.stage, None, _last_line(error)) from None

    def _ask(self, folder: Path, needs: Needs, work: Callable[..., Any], *arguments: Any) -> Any:
        """What a small job finds; RequestError where it does not come to its end."""
        try:
            return self._result(self._begin(folder, "look", needs, 10, _Job(work, arguments)))
        except (LostError, FailedJobError, StepError) as error:
            raise RequestError(f"--executor slurm: a first job ended without an answer ({_last_line(error)})") from None

    def _begin(self, folder: Path, name: str, needs: Needs, minutes: int, work: _Job) -> Any:
        """Hand a job to Slurm; LostError is none here: what Slurm refuses once it refuses again."""
        known = submitit.SlurmExecutor._valid_parameters()
        chosen = {name: value for name, value in self._settings.items() if name.replace("-", "_") in known}
        more = {name: value for name, value in self._settings.items() if name not in chosen}
        try:
            with self._lock:
                executor = submitit.AutoExecutor(folder, cluster=self._cluster, slurm_max_num_timeout=_MOST_TIMEOUTS)
                executor.update_parameters(
                    name=re.sub(r"[^\w.-]+", "-", f"bakeoff {name}"),
                    timeout_min=minutes,
                    **self._asked_for(needs),
                    **{f"slurm_{name.replace('-', '_')}": value for name, value in chosen.items()},
                    slurm_additional_parameters={"requeue": True, **more},
                )
                job = executor.submit(work)
        except submitit.core.utils.FailedJobError as error:
            raise StepError(name, None, f"Slurm takes no such job: {_last_line(error)}") from None
        self._running[job.job_id] = job
        return job

    def _asked_for(self, needs: Needs) -> dict[str, Any]:
        """What a step needs, or what the largest node has where that is less: a step alone may ask for more."""
        cores = min(needs.cores, max((node.cores for node in self._nodes), default=1))
        memory = min(needs.memory, max((node.memory for node in self._nodes), default=0))
        asked = {"cpus_per_task": cores, "mem_gb": memory / 2**30 if memory else None, "gpus_per_node": None}
        asked["gpus_per_node"] = 1 if needs.gpu_share else None
        return {name: value for name, value in asked.items() if value is not None}

    def _result(self, job: Any) -> Any:
        """What a job's work gave; LostError where it left the queue without a word."""
        left = 0.0
        try:
            while not job.paths.result_pickle.exists():
                time.sleep(_LOOK_SECONDS)
                if self._ending:
                    raise OSError("the run was stopped")
                left = 0.0 if self._is_there(job) else left or time.monotonic()
                if left and time.monotonic() - left > _LATE_SECONDS:
                    raise LostError(f"job {job.job_id} left the queue without a result{_said_by(job)}")
            return job.result()
        except UncompletedJobError as error:
            raise LostError(_last_line(error)) from None
        finally:
            self._running.pop(job.job_id, None)

    def _is_there(self, job: Any) -> bool:
        """Whether a job waits or runs."""
        if self._cluster == "local":
            return not job.done()
        with self._lock:
            if time.monotonic() - self._asked > _ASK_SECONDS:
                question = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
                answer = subprocess.run(question, capture_output=True, text=True, encoding="utf-8", check=False)
                if answer.returncode:  # Slurm's controller is away for a while
                    return True
                self._queue, self._asked = set(answer.stdout.split()), time.monotonic()
            return job.job_id in self._queue

    @cached_property
    def _nodes(self) -> list[_Node]:
        """The nodes that jobs may run on, as far as Slurm says."""
        if self._cluster == "local":
            return [_Node(len(os.sched_getaffinity(0)), free_memory(), 0)]
        partition = [f"--partition={self._settings['partition']}"] if "partition" in self._settings else []
        question = ["sinfo", "--noheader", "--Node", "--format=%N|%c|%m|%G|%t", *partition]
        answer = subprocess.run(question, capture_output=True, text=True, encoding="utf-8", check=False)
        rows = {line.split("|")[0]: line.split("|")[1:] for line in answer.stdout.splitlines() if line.count("|") == 4}
        found = [
            _Node(int(cores), int(megabytes) * 2**20 if int(megabytes) > 1 else 0, sum(map(int, _GPUS.findall(gpus))))
            for cores, megabytes, gpus, state in rows.values()
            if not state.startswith(("down", "drain", "drng", "fail", "unk"))
        ]
        if not found:
            said = answer.stderr.strip() or f"sinfo {' '.join(partition)} names no node that jobs can run on"
            raise RequestError(f"--executor slurm: {said.splitlines()[0]}")
        return found


def _setting(text: str) -> tuple[str, str | int]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z-]*", name):
        raise RequestError(f"--slurm {text}: write NAME=VALUE, with a long option of sbatch as NAME (partition=short)")
    if name == "time" and not value.isdecimal():
        raise RequestError(f"--slurm {text}: write the time in minutes (time=240)")
    return name, int(value) if name == "time" else value


def _said_by(job: Any) -> str:
    """The last line that a job wrote as an error, in brackets; nothing where there is none."""
    lines = (job.stderr() or "").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


def _last_line(error: Exception) -> str:
    """The last line of what went wrong, before submitit's words about its own logs."""
    said = str(error).partition("You can check full logs")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip(" -")]
    return lines[-1][:200] if lines else type(error).__name__


def _gpu(backend: str) -> tuple[str, str]:
    with scratch_folder() as folder:
        _, kind, cudnn = find_gpus(backend, DigestCache(folder / "digests.sqlite"), lambda _: None)
    return kind, cudnn
