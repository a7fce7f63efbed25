"""Ray places steps on the nodes of a cluster. What a lost worker or node had begun runs again elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bakeoff.errors import RequestError, StepError
from bakeoff.executors import Needs, Task
from bakeoff.executors.remote import Likeness, LostError, execute_here, fault_here, likeness, until_done
from bakeoff.executors.transfer import Outcome, Parcel, Sender, execute_apart, own_store, receive
from bakeoff.plan.machine import GPU_SECONDS, Machine, find_gpus
from bakeoff.plan.resources import usable_cores
from bakeoff.run.execute import Made
from bakeoff.store.digests import DigestCache
from bakeoff.store.scratch import scratch_folder

_LOOK_SECONDS = 60.0  # a node that has not answered by then is named
_END_SECONDS = 5.0
_CLEAR_SECONDS = 2.0
_SMALLEST_STORE = 100 * 2**20  # bytes for Ray's objects; paths go to the workers, not contents
_LONGEST_FOLDER = 40  # Ray puts sockets far below its folder, and a socket's path has 107 bytes
_MOST_THREADS = 1000
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_agent_register_timeout_ms": "180000",  # later, a node ends: a busy machine is slow
}


class RayExecutor:
    """One Ray task a step, on a cluster that is there (`address`) or on one of this machine's own."""

    def __init__(
        self, address: str | None, transfer: bool, cold_kernels: bool, jobs: int, say: Callable[[str], None]
    ) -> None:
        """`transfer`: contents go to the workers, which see no folder of this machine; else paths do."""
        self._address, self._cold, self._say = address, cold_kernels, say
        self._sender = Sender(ray.put) if transfer else None
        self._threads = ThreadPoolExecutor(jobs or _MOST_THREADS)  # one waits for each step that runs
        self._running: dict[threading.Thread, Any] = {}
        self._waiting: list[Future[Made]] = []
        self._folders = ExitStack()
        self._run_folder = Path()
        self._alike = Likeness({}, "")
        self._ending = False

    def with_gpu(self, machine: Machine) -> Machine:
        """The machine with the kind of GPU that a node says it has."""
        self._connect()
        if not ray.cluster_resources().get("GPU"):
            raise RequestError(
                f"--device gpu: {self._place()} has no GPU; add a node with one, or leave out --device gpu"
            )
        kind, cudnn = ray.get(_gpu.remote(machine.backend), timeout=GPU_SECONDS + _LOOK_SECONDS)
        if not kind:
            raise RequestError(
                f"--device gpu: {machine.backend} cannot compute on the GPU of {self._place()}; mend it there"
            )
        return replace(machine, gpus=("0",), gpu=kind, cudnn=cudnn)

    def start(self, run_folder: Path, machine: Machine) -> None:
        """Connect, and look whether every node can execute the run's steps."""
        self._run_folder, self._alike = run_folder, likeness(machine)
        self._connect()
        if machine.gpus and not ray.cluster_resources().get("GPU"):
            raise RequestError(
                f"--executor ray: {self._place()} has no GPU and this run asks for one; add a node with a GPU, or "
                "set CUDA_VISIBLE_DEVICES=-1 to compute on CPUs"
            )
        self._look_at_nodes()
        self._say(f"{self._place()}: {len(_nodes())} nodes, {self.capacity(machine).cores} cores.")

    def capacity(self, machine: Machine) -> Machine:
        """The cluster's."""
        found = ray.cluster_resources()
        gpus = tuple(map(str, range(int(found.get("GPU", 0))))) if machine.gpus else ()
        return replace(machine, cores=max(1, int(found.get("CPU", 0))), gpus=gpus)

    def free_memory(self) -> int:
        """What the nodes have for steps."""
        return int(ray.cluster_resources().get("memory", 0))

    def takes(self, task: Task) -> bool:
        """All; but with contents no task that reads data from outside the store."""
        return self._sender is None or bool(task.parents)

    def submit(self, task: Task) -> Future[Made]:
        """Have a node execute the task, and another one where it is lost."""
        future = self._threads.submit(self._execute, task)
        self._waiting = [*(each for each in self._waiting if not each.done()), future]
        return future

    def stop(self, at_once: bool = False) -> None:
        """Leave the cluster, or end it if it is this run's own."""
        self._ending = at_once
        if at_once and ray.is_initialized():
            for reference in list(self._running.values()):
                with suppress(RayError):
                    ray.cancel(reference, force=True)
            wait(self._waiting, _END_SECONDS)
        if ray.is_initialized():
            self._clear_nodes()
            ray.shutdown()
        self._threads.shutdown()
        self._folders.close()

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        os.environ.update(_SETTINGS)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self._address:
                ray.init(self._address, log_to_driver=False, logging_level="error")
            else:
                self._begin_cluster()
        except Exception as error:  # Ray raises this class itself where a node does not come up in time
            raise RequestError(f"--executor ray: {self._place()} does not serve ({_in_a_line(error)})") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)  # Ray puts its own in their place

    def _begin_cluster(self) -> None:
        folder = self._folders.enter_context(scratch_folder())
        place = {"_temp_dir": str(folder)} if len(str(folder)) <= _LONGEST_FOLDER else {}
        ray.init(
            "local",  # else a cluster that happens to be there is joined
            num_cpus=usable_cores(),
            object_store_memory=_SMALLEST_STORE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            **place,
        )

    def _place(self) -> str:
        return f"the Ray cluster at {self._address}" if self._address else "Ray on this machine"

    def _look_at_nodes(self) -> None:
        """Raise RequestError where steps cannot be executed on some node as they are here."""
        folder = self._run_folder if self._sender is None else None
        asked = {node["NodeName"]: _on(node, _fault).remote(self._alike, folder) for node in _nodes()}
        for name, reference in asked.items():
            try:
                fault = ray.get(reference, timeout=_LOOK_SECONDS)
            except GetTimeoutError:
                fault = f"did not answer within {_LOOK_SECONDS:.0f} s"
            except RayTaskError as error:
                fault = f"has no Bakeoff like this one ({error.cause})"
            if fault:
                raise RequestError(f"--executor ray: the node {name} {fault}")

    def _clear_nodes(self) -> None:
        """Have each node forget what was sent to it."""
        if self._sender is not None:
            with suppress(RayError):
                clearing = [_on(node, _forget).remote(self._run_folder) for node in _nodes()]
                ray.wait(clearing, num_returns=len(clearing), timeout=_CLEAR_SECONDS)

    def _execute(self, task: Task) -> Made:
        """To its end, by as many workers as it takes."""
        outcome = until_done(task, lambda: self._attempt(task), self._say)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _attempt(self, task: Task) -> Made | Exception:
        reference = self._begin(task)
        self._running[threading.current_thread()] = reference
        try:
            outcome: Made | Exception = _received(task, reference) if self._sender else ray.get(reference)
            return outcome
        except (RayTaskError, TaskCancelledError) as error:
            raise StepError(task.job.stage, None, _in_a_line(error)) from None
        except RayError as error:
            raise (OSError if self._ending or not ray.is_initialized() else LostError)(_in_a_line(error)) from None
        finally:
            self._running.pop(threading.current_thread(), None)

    def _begin(self, task: Task) -> Any:
        needs = _fitting(task.needs)
        # A worker with a GPU would end after each task, and the fork server with it; kernels hold GPUs, workers do not.
        options = {"num_cpus": needs.cores, "num_gpus": needs.gpu_share, "memory": needs.memory, "name": task.title}
        if self._sender is None:
            return _step.options(**options).remote(task, self._run_folder, self._alike, self._cold)
        parcels = self._sender.parcels(task)
        begin = _step_apart.options(**options).remote
        return begin(task, self._run_folder, self._alike, self._cold, list(parcels), *parcels.values())


def _received(task: Task, stream: Iterator[Any]) -> Made:
    """What a task made, once all that its worker sent is in its place here."""
    for each in stream:
        made = receive(task, ray.get(each))
        if made is not None:
            return made
    raise LostError("it ended without a word")


def _on(node: dict[str, Any], function: Any) -> Any:
    """A remote function that runs on this node and on no other."""
    return function.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))


def _nodes() -> list[dict[str, Any]]:
    """The nodes that compute."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _fitting(needs: Needs) -> Needs:
    """What a step needs, or what the largest node has where that is less: a step alone may ask for more."""
    cores, memory = (
        max((int(node["Resources"].get(name, 0)) for node in _nodes()), default=0) for name in ("CPU", "memory")
    )
    return Needs(min(needs.cores, cores or needs.cores), min(needs.memory, memory or needs.memory), needs.gpu_share)


def _in_a_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if isinstance(error, RayTaskError) else lines[0])[:200] if lines else type(error).__name__


@ray.remote(num_cpus=0, num_gpus=0.01, max_retries=0)
def _gpu(backend: str) -> tuple[str, str]:
    with scratch_folder() as folder:
        _, kind, cudnn = find_gpus(backend, DigestCache(folder / "digests.sqlite"), lambda _: None)
    return kind, cudnn


@ray.remote(num_cpus=0, max_retries=0)
def _fault(alike: Likeness, run_folder: Path | None) -> str:
    return fault_here(alike, run_folder)


@ray.remote(num_cpus=0, max_retries=0)
def _forget(run_folder: Path) -> None:
    shutil.rmtree(own_store(_group(run_folder)), ignore_errors=True)


@ray.remote(max_retries=0, max_calls=0)  # the executor counts the tries itself: Ray's are endless for want of memory
def _step(task: Task, run_folder: Path, alike: Likeness, cold_kernels: bool) -> Made | Exception:
    """A task on a node; failures of the step are values, so that all else is a lost worker."""
    try:
        return execute_here(task, run_folder, alike, cold_kernels, _group(run_folder))
    except (StepError, OSError) as error:
        return error


@ray.remote(max_retries=0, max_calls=0, num_returns="streaming")
def _step_apart(
    task: Task, run_folder: Path, alike: Likeness, cold_kernels: bool, places: list[str], *parcels: Parcel
) -> Iterator[Parcel | Outcome]:
    """A task on a node that sees no folder of the command's machine."""
    given = dict(zip(places, parcels, strict=True))
    yield from execute_apart(task, given, alike, cold_kernels, _group(run_folder))


def _group(run_folder: Path) -> str:
    """What the workers of a run on this node have in common."""
    node = f"{ray.get_runtime_context().get_node_id()} {run_folder}"
    return hashlib.sha256(node.encode()).hexdigest()[:12]
