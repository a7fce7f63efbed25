"""Runs a plan: which step next, where, and what a failure means for the steps that need it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff import warm, without_iri_grammar
from bakeoff.code import NOTEBOOKS
from bakeoff.devices import Devices
from bakeoff.errors import StepError
from bakeoff.execute import Job
from bakeoff.inputs import execute_checked
from bakeoff.last_made import LastMade
from bakeoff.locks import Locks
from bakeoff.loop import TICK_SECONDS, Loop
from bakeoff.machine import Machine
from bakeoff.plan import Plan, Step, parent_name, stale_reason
from bakeoff.progress import Lines, make_progress
from bakeoff.resolve import import_environment
from bakeoff.scratch import scratch_folder
from bakeoff.store import Store, write_atomically
from bakeoff.warm.client import Server
from bakeoff.warm.process import die_with_parent

COLD_KERNEL = "python3"
# What makes a GPU give the same bits each time, of TensorFlow, of XLA (JAX), and of cuBLAS (PyTorch).
_DETERMINISTIC = {
    "TF_DETERMINISTIC_OPS": "1",
    "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
_LONGEST_SOCKET_FOLDER = 80  # a socket's path has 104 bytes at most on some systems


@dataclass
class Runner:
    """Executes steps in worker processes and commits each to the store. Use it in a `with` statement."""

    store: Store
    machine: Machine
    data_dir: Path
    say: Callable[[str], None]
    jobs: int = 1
    cold_kernels: bool = False
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    on_finished: Callable[[Step], None] | None = None  # called after each step that is made; it may add to the plan
    _running: set[tuple[str, str]] = field(default_factory=set)
    _shared: set[tuple[str, str]] = field(default_factory=set)  # steps beside which another one ran, whatever it was
    _pool: ProcessPoolExecutor | None = None
    _server: Server | None = None
    _scratch: Path | None = None
    _folders: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.devices = Devices(self.machine.gpus)
        self.locks = Locks(self.store, self.say)
        self._last_made = LastMade(self.store.root)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Leave no process behind: kernels die with their server, or with the worker that started them."""
        if self._pool and failure:  # Ctrl-C: do not wait for notebooks to end
            for worker in list(getattr(self._pool, "_processes", None) or {}):
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        if self._server:  # after the workers, which would start a kernel of their own where none is forked for them
            self._server.stop()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._last_made.close()
        self._folders.close()

    def run(self, plan: Plan) -> None:
        """Run what must run, parents first. A failed step stops only what needs it; see `failures`."""
        if plan.reasons:
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

        `texts` (name -> content) are put into its folder first, for its notebook to read.
        """
        while not self.locks.take(step):
            time.sleep(TICK_SECONDS)
        if reason != "forced" and stale_reason(step, self.store) is None:
            self.locks.release(step)
            return True
        for name, text in (texts or {}).items():
            write_atomically(self.store.folder(*step.name) / name, text)
        self.finish(step, self.start(step, reason, inputs), Lines(plan, self.store, self.say))
        return step.name not in self.failures

    def start(self, step: Step, reason: str, inputs: Mapping[str, Any] | None = None) -> Future[float]:
        """Give a step, whose lock is held, to a worker."""
        if reason == "forced":
            self.store.remove(*step.name)
        folder = self.store.folder(*step.name)
        parents = {each[0]: str(self.store.folder(*parent_name(each))) for each in step.inputs.items()}
        parents |= {"shared": str(self.store.shared(step.key_inputs))} if step.stage.shares else {}
        kernel, environment = self._kernel()
        job = Job(
            stage=step.stage.name,
            notebook=NOTEBOOKS / f"{step.stage.notebook}.ipynb",
            folder=folder,
            parameters={**step.parameters, "inputs": parents if inputs is None else inputs, "output": str(folder)},
            outputs=step.stage.outputs,
            environment=kernel_environment(step, self.machine, self.data_dir, self.devices.lease(step)) | environment,
            kernel=kernel,
            timeout_seconds=step.timeout_seconds,
            sockets=self._sockets(),
        )
        self._running.add(step.name)
        if len(self._running) > 1:
            self._shared |= self._running
        return self._workers().submit(execute_checked, job, self.store, step.parents)

    def finish(self, step: Step, future: Future[float], progress: Lines) -> None:
        """Record what a worker made, or why it failed, and let go of the step."""
        try:
            seconds = future.result()
            self._commit(step, seconds)
            progress.finished(step, seconds)
        except (StepError, BrokenProcessPool, OSError) as error:
            if isinstance(error, BrokenProcessPool):  # a worker was killed: the next step gets new ones
                self._pool = None
            self.failures[step.name] = _in_a_sentence(step, error)
            progress.failed(step, self.failures[step.name])
        finally:
            self._running.discard(step.name)
            self.devices.release(step)
            self.locks.release(step)

    def _workers(self) -> ProcessPoolExecutor:
        """Processes of their own: papermill's imports and the environment of a kernel stay out of the command."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.jobs, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)
            )
        return self._pool

    def _kernel(self) -> tuple[str, dict[str, str]]:
        """The kernel's name and what its launcher must find in the environment; starts the fork server once."""
        if self.cold_kernels or not warm.supported():
            return COLD_KERNEL, {}
        if self._server is None:
            environment = import_environment(self.machine.backend, self.data_dir)
            self._server = Server(environment, self.store.root / "fork-server.log")
            self._server.start(self._folder())
            self._workers().submit(_import_papermill)  # while the server imports, so does the first worker
            if not self._server.wait():
                self.say(
                    f"The fork server did not start (see {self.store.root / 'fork-server.log'}); kernels start cold."
                )
                self.cold_kernels = True
                return COLD_KERNEL, {}
        path = os.pathsep.join([str(warm.JUPYTER_PATH), *filter(None, [os.environ.get("JUPYTER_PATH")])])
        return warm.KERNEL, {"JUPYTER_PATH": path, warm.SOCKET_VARIABLE: str(self._server.path)}

    def _folder(self) -> Path:
        """A folder for sockets that only this user can open; gone when the run ends."""
        if self._scratch is None:
            self._scratch = self._folders.enter_context(scratch_folder())
        return self._scratch

    def _sockets(self) -> Path | None:
        """Where kernels put their Unix sockets; None where there are none, or the folder's name is too long for one."""
        fits = hasattr(socket, "AF_UNIX") and len(str(self._folder())) < _LONGEST_SOCKET_FOLDER
        return self._folder() if fits and os.name == "posix" else None

    def _commit(self, step: Step, seconds: float) -> None:
        before = self.store.complete_manifest(*step.name) or {}
        self.store.commit(
            *step.name,
            {
                "page_key": step.page_key,
                "parameters": dict(step.parameters),
                "key_inputs": step.key_inputs,
                "inputs": dict(step.inputs),
                "machine": self.machine.record(),
                # A page made again does not change what the work took, nor whether it had the machine for itself.
                "seconds": before.get("seconds", seconds),
                "ran_alone": before.get("ran_alone") if before else step.name not in self._shared,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "status": "ok",
            },
        )
        self._last_made.add(step.variants, step.label, step.result_key)


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
        "BAKEOFF_WEIGHTS_SHA256": step.key_inputs.get("resolved", {}).get("weights", "") if imagenet else "",
        **(_DETERMINISTIC if step.key_inputs["settings"].get("deterministic") else {}),
    }


def _begin_worker(owner: int) -> None:
    """A worker leaves Ctrl-C to the command, and ends with it whatever ends the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(owner)
    without_iri_grammar()


def _import_papermill() -> None:
    import papermill  # noqa: F401
