"""Runs a plan: which step next, where, and what a failure means for the steps that need it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff.errors import StepError
from bakeoff.executors import Executor, Needs, Task
from bakeoff.executors.kernels import COLD_KERNEL, Kernels
from bakeoff.executors.local import LocalExecutor
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.machine import Machine
from bakeoff.plan.resolve import import_environment, python_path
from bakeoff.plan.software import package_versions, revision
from bakeoff.plan.steps import DAMAGED, Plan, Step, parent_name, stale_reason
from bakeoff.run.attempts import attempt_networks
from bakeoff.run.devices import Devices
from bakeoff.run.execute import Job, Made
from bakeoff.run.loop import TICK_SECONDS, Loop
from bakeoff.run.progress import Lines, make_progress, title
from bakeoff.store import Store, write_manifest
from bakeoff.store.last_made import LastMade
from bakeoff.store.locks import Locks
from bakeoff.store.staging import Staging

# What makes a GPU give the same bits each time, of TensorFlow, of XLA (JAX), and of cuBLAS (PyTorch).
_DETERMINISTIC_XLA = "--xla_gpu_deterministic_ops=true"
_DETERMINISTIC = {
    "TF_DETERMINISTIC_OPS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
_JAX_MEMORY, _JAX_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION", 0.9  # the most of its share that a kernel's JAX takes
_COMPILED = "JAX_COMPILATION_CACHE_DIR"
_MOST_THREADS = 1000


@dataclass
class Runner:
    """Has steps executed and commits each to the store. Use it in a `with` statement."""

    store: Store
    machine: Machine
    data_dir: Path
    say: Callable[[str], None]
    jobs: int = 1  # 0: as many as there is room for where steps are executed
    cold_kernels: bool = False
    project: Path = PROJECT  # whose notebooks and lab kernels execute: a run's snapshot
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    on_finished: Callable[[Step], None] | None = None  # called for each step that is made; it may add to the plan
    executor: Executor | None = None  # of a plan's steps; None: worker processes here, as for single steps
    _running: set[tuple[str, str]] = field(default_factory=set)
    _shared: set[tuple[str, str]] = field(default_factory=set)  # steps beside which another one ran, whatever it was
    _making: dict[tuple[str, str], _Making] = field(default_factory=dict)
    _made_with: dict[str, Any] = field(default_factory=dict)
    capacity: Machine = field(init=False)  # what steps may take at once
    _executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        self.locks = Locks(self.store, self.say)
        self._last_made = LastMade(self.store.root)
        self._staging = Staging(self.store)
        imported_with = import_environment(self.machine.backend, self.data_dir)
        self._kernels = Kernels(imported_with, self.store.root / "fork-server.log", self.say, self.cold_kernels)
        self._workers: Executor = LocalExecutor(self.jobs or 1, self._kernels)
        self._executor = self.executor or self._workers
        self.capacity, self.devices = self.machine, Devices(self.machine.gpus)
        self._publishers = ThreadPoolExecutor(self.jobs or _MOST_THREADS)  # one for each step that runs

    def __enter__(self) -> Runner:
        self._staging.open()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Leave no process behind: kernels die with their server, or with the worker that started them."""
        for executor in (self._executor, self._workers):
            executor.stop(at_once=failure is not None)  # Ctrl-C: do not wait for notebooks to end
        self._publishers.shutdown()
        self._staging.close()
        self._last_made.close()
        self._kernels.close()

    def free_memory(self) -> int:
        """Bytes that steps may take where they are executed."""
        return self._executor.free_memory()

    def run(self, plan: Plan) -> None:
        """Run what must run, parents first. A failed step stops only what needs it; see `failures`."""
        if plan.reasons:
            self._executor.start(self._staging.folder, self.machine)
            self.capacity = self._executor.capacity(self.machine)
            self.devices = Devices(self.capacity.gpus)
            attempt_networks(plan, self)
            with make_progress(plan, self.store, self.say) as progress:
                Loop(self, plan, progress).run()

    def step(
        self,
        plan: Plan,
        step: Step,
        reason: str,
        inputs: Mapping[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> bool:
        """Run one step to its end; whether it is made, by this run or by another one meanwhile.

        `inputs` stand in place of the parents' folders. `texts` (name -> content) are files that it finds in its
        folder, and whose paths are among its inputs, by their names without suffix.
        """
        while not self.locks.take(step):
            time.sleep(TICK_SECONDS)
        if reason != "forced" and stale_reason(step, self.store) is None:
            self.locks.release(step)
            return True
        self.finish(step, self.start(step, reason, inputs, texts), Lines(plan, self.store, self.say))
        return step.name not in self.failures

    def execute_code(self, step: Step, code: str, parameters: Mapping[str, Any]) -> None:
        """Execute code, which reads these parameters, in a kernel such as a step gets; StepError where it fails."""
        folder = self._staging.step(step.stage.name, step.result_key)
        notebook = folder / "code.ipynb"
        cell: dict[str, Any] = {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": code,
        }
        declared = "\n".join(f"{name} = None" for name in parameters)
        first = {**cell, "metadata": {"tags": ["parameters"]}, "source": declared}
        kernel = {"kernelspec": {"name": COLD_KERNEL, "display_name": COLD_KERNEL, "language": "python"}}
        content = {"cells": [first, cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
        notebook.write_text(json.dumps(content), encoding="utf-8")
        environment, seconds = self.kernel_environment(step), step.timeout_seconds
        job = Job(step.stage.name, notebook, folder, parameters, (), environment, COLD_KERNEL, seconds)
        try:
            self._workers.submit(Task(job, self.store, (), Needs())).result()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def start(
        self,
        step: Step,
        reason: str,
        inputs: Mapping[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
        needs: Needs | None = None,
    ) -> Future[Made]:
        """Give a step, whose lock is held, to a worker; the result is there when the step is published.

        The executor's workers get it with what it `needs`; without that, those on this machine do.

        What a worker made is published in a thread, so that nothing else waits for the disk.
        """
        store, checkpoint = self.store, self.store.checkpoint(*step.name)
        before = None if reason in ("forced", DAMAGED) else store.complete_manifest(*step.name)
        if reason == "forced" and checkpoint.exists():
            store.discard(checkpoint)
        staged = self._staging.step(*step.name)
        making = self._making[step.name] = _Making(staged, reason, before)
        parents = {each[0]: str(store.folder(*parent_name(each))) for each in step.inputs.items()}
        parents |= {"shared": str(store.shared(step.key_inputs))} if step.stage.shares else {}
        parents |= {"checkpoint": str(checkpoint)} if step.stage.resumes else {}
        parents |= {"images": step.images} if step.images else {}
        given = {Path(name).stem: str(staged / name) for name in texts or {}}
        self._software()
        job = Job(
            stage=step.stage.name,
            notebook=self.project / "notebooks" / f"{step.stage.notebook}.ipynb",
            folder=staged,
            parameters={**step.parameters, "inputs": {**(inputs or parents), **given}, "output": str(staged)},
            outputs=step.stage.outputs,
            environment=self.kernel_environment(step),
            kernel=COLD_KERNEL,  # the executor knows a better one
            timeout_seconds=step.timeout_seconds,
            published=store.folder(*step.name),
            failed=store.failed(*step.name),
            texts=texts or {},
            kept=before["files"] if before else {},
            device=step.key_inputs["settings"].get("device", ""),
        )
        self._running.add(step.name)
        if len(self._running) > 1:
            self._shared |= self._running
        task = Task(job, self.store, tuple(step.parents), needs or Needs(), title(step))
        executor = self._executor if needs is not None and self._executor.takes(task) else self._workers
        return self._publishers.submit(self._publish, step, executor.submit(task), making)

    def finish(self, step: Step, future: Future[Made], progress: Lines) -> None:
        """Note that a step is made, or why it failed, and let go of it."""
        try:
            made = future.result()
            self._last_made.add(step.variants, step.label, step.result_key)
            progress.finished(step, made.seconds)
        except (StepError, BrokenProcessPool, OSError) as error:
            self.failures[step.name] = _in_a_sentence(step, error)
            progress.failed(step, self.failures[step.name])
        finally:
            self.give_up(step)

    def give_up(self, step: Step) -> None:
        """Let go of a step that was started: of its folder, where it was not published, its devices and its lock."""
        shutil.rmtree(self._making.pop(step.name).staged, ignore_errors=True)
        self._running.discard(step.name)
        self.devices.release(step)
        self.locks.release(step)

    def kernel_environment(self, step: Step) -> dict[str, str]:
        """A kernel's: it imports the snapshot's code."""
        chosen = kernel_environment(step, self.machine, self.data_dir, self.devices.lease(step))
        own = {"PYTHONPATH": python_path(self.project)}
        return chosen | own | {_COMPILED: os.environ.get(_COMPILED) or str(self.store.compiled(self.machine.processor))}

    def kernel_server(self) -> dict[str, str]:
        """The variables by which kernels that others start find this run's fork server, which it starts."""
        return self._kernels.find()[1]

    def _software(self) -> dict[str, Any]:
        """The revision and the packages that this run's steps are made with, as they were when its first one began."""
        if not self._made_with:
            self._made_with = {"revision": revision(), "packages": package_versions()}
        return self._made_with

    def _publish(self, step: Step, executed: Future[Made], making: _Making) -> Made:
        """Wait for the worker, publish what it made, and forget what the step would have gone on from."""
        made = executed.result()
        staged = made.folder or making.staged
        now = {
            "seconds": made.seconds,
            "machine": self.machine.record() | dict(made.machine) | {"measured": made.device},
            "software": self._software(),
            "ran_alone": step.name not in self._shared,
            "peak_memory": made.peak_memory,  # what the next run reserves
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        # A page that was rebuilt does not change what the work took, and on what.
        before = making.before if made.page_only else None
        manifest = {
            "page_key": step.page_key,
            "parameters": dict(step.parameters),
            "key_inputs": step.key_inputs,
            "inputs": dict(step.inputs),
            **({name: before.get(name) for name in now} | {"page": now} if before else now),
            "status": "ok",
            "stage": step.stage.name,
            "result_key": step.result_key,
            "files": made.files,
        }
        write_manifest(staged, manifest)
        replace = making.before is not None or making.reason in ("forced", DAMAGED)
        self.store.publish(staged, *step.name, replace=replace)
        if (checkpoint := self.store.checkpoint(*step.name)).exists():
            self.store.discard(checkpoint)
        return made


@dataclass(frozen=True)
class _Making:
    """A step that is being made: in which folder, why, and its step.json where it was complete already."""

    staged: Path
    reason: str
    before: dict[str, Any] | None


def _in_a_sentence(step: Step, error: Exception) -> str:
    if isinstance(error, StepError):
        return str(error)
    if isinstance(error, BrokenProcessPool):
        return f"{step.stage.name}: the process that ran it was killed (often: out of memory); run the command again"
    return f"{step.stage.name}: its files could not be recorded: {error}; mend that and run the same command again"


def kernel_environment(step: Step, machine: Machine, data_dir: Path, gpu: str = "") -> dict[str, str]:
    """Environment of a step's kernel: backend, threads, the leased GPU, where data lie. Set before any import."""
    threads = str(step.threads)
    imagenet = step.parameters.get("weights") == "imagenet"
    return import_environment(machine.backend, data_dir) | {
        "CUDA_VISIBLE_DEVICES": gpu or "-1",
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **_of_jax(step.gpu_share),
        "BAKEOFF_WEIGHTS_SHA256": step.key_inputs.get("resolved", {}).get("weights", "") if imagenet else "",
        **(_deterministic() if step.key_inputs["settings"].get("deterministic") else {}),
    }


def _of_jax(gpu_share: float) -> dict[str, str]:
    """Without them JAX takes three quarters of a GPU for each kernel, and looks for one where none shall be seen."""
    if not gpu_share:
        return {"JAX_PLATFORMS": "cpu"}
    fraction = {} if "XLA_CLIENT_MEM_FRACTION" in os.environ else {_JAX_MEMORY: f"{_JAX_SHARE * gpu_share:.3f}"}
    chosen = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **fraction}
    return {name: os.environ.get(name, value) for name, value in chosen.items()}


def _deterministic() -> dict[str, str]:
    """The variables that ask for it; flags of XLA that the user set stay."""
    return _DETERMINISTIC | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_DETERMINISTIC_XLA}".strip()}
