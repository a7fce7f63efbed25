"""Where machines share no folder: what a step reads goes to its machine as contents, and what it makes comes back.

Each machine keeps what came in a store of its own, below its temporary folder. Digests are checked on both sides.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from bakeoff.errors import DamagedInputError, StepError
from bakeoff.executors import Task
from bakeoff.executors.remote import Likeness, LostError, execute_with_kernel, moved, refuse
from bakeoff.plan.steps import Name
from bakeoff.run.execute import Job, Made
from bakeoff.store import MANIFEST, Store, exchange, unique_name
from bakeoff.store.scratch import common_folder

_LOOK_SECONDS = 1.0  # between two looks at what a training goes on from
_MOST_KEPT = 2**31  # bytes of parcels that the command keeps for the next step that reads them


@dataclass(frozen=True)
class Parcel:
    """Files by their paths below a folder: their bytes, and the digests that these had where they were read."""

    files: Mapping[str, Any]  # arrays of bytes, which pickle hands over without a copy
    digests: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.nbytes for each in self.files.values())


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its files where it was made, else the error with the notebook as far as it came."""

    made: Made | None
    parcel: Parcel
    error: StepError | OSError | LostError | None = None


def _digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(folder: Path, *names: str) -> Parcel:
    """The files below a folder, or those with these names."""
    import numpy as np

    found = names or [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {name: np.fromfile(folder / name, np.uint8) for name in found}
    return Parcel(files, {name: _digest(content) for name, content in files.items()})


def unpack(parcel: Parcel, folder: Path) -> None:
    """Write a parcel's files below a folder, each in one move; LostError where bytes are not those that were sent."""
    for name, content in parcel.files.items():
        if _digest(content) != parcel.digests[name]:
            raise LostError(f"{name} arrived with other bytes than were sent")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{unique_name()}.partial")
        content.tofile(partial)
        partial.replace(path)


class Sender:
    """The command's side: what a task reads, as parcels that `put` has handed over; those used last are kept."""

    def __init__(self, put: Callable[[Parcel], Any]) -> None:
        self._put = put
        self._kept: OrderedDict[Path, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def parcels(self, task: Task) -> dict[str, Any]:
        """Path below the store -> what `put` gave for the parcel of that folder.

        Raises DamagedInputError where a parent's files are not the recorded ones.
        """
        store, job = task.store, task.job
        code = code_of(job)
        sent = {code: self._once(code, partial(pack, code))}
        for name in task.parents:
            sent[store.folder(*name)] = self._once(store.folder(*name), partial(_recorded, store, job, name))
        for changing in (checkpoint_of(job), job.published if job.kept else None):
            if changing is not None and changing.is_dir():
                sent[changing] = self._put(pack(changing))
        return {folder.relative_to(store.root).as_posix(): parcel for folder, parcel in sent.items()}

    def _once(self, folder: Path, make: Callable[[], Parcel]) -> Any:
        with self._lock:  # one thread reads a folder, and the others find what it has sent
            if folder not in self._kept:
                parcel = make()
                self._kept[folder] = self._put(parcel), parcel.size
            self._kept.move_to_end(folder)
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return self._kept[folder][0]


def code_of(job: Job) -> Path:
    """The folder of the code that a job executes."""
    return job.notebook.parent.parent


def checkpoint_of(job: Job) -> Path | None:
    """The folder from which a job goes on when it was cut short."""
    folder = job.parameters["inputs"].get("checkpoint")
    return Path(folder) if folder else None


def receive(task: Task, came: Parcel | Outcome) -> Made | None:
    """The command's side: put what came from a task's machine in its place; what was made, once that is there.

    Raises LostError where bytes were lost on the way, and the error that the task ended with.
    """
    job = task.job
    if isinstance(came, Parcel):
        unpack(came, checkpoint_of(job) or job.folder)
        return None
    if came.made is None:
        unpack(came.parcel, task.store.root)
        raise came.error or LostError("it ended without a word")
    folder = job.folder / unique_name()
    unpack(came.parcel, folder)
    if {name: digest for name, (digest, _) in came.made.files.items()} != came.parcel.digests:
        raise LostError("the files that came are not those that were made")
    return replace(came.made, folder=folder)


def execute_apart(
    task: Task, parcels: Mapping[str, Parcel], alike: Likeness, cold_kernels: bool, group: str
) -> Iterator[Parcel | Outcome]:
    """The worker's side: execute a task in this machine's own store.

    Gives what the task goes on from, whenever that has changed, and in the end what was made.
    """
    here = Store(own_store(group))
    attempt = here.staging / task.job.folder.name / f"attempt-{unique_name()}"
    job = moved(task.job, {task.job.folder: attempt, task.store.root: here.root})
    job = replace(job, called={here.root: task.store.root})
    try:
        refuse(task, alike.fault())
        _take_in(here, task, parcels)
        with ThreadPoolExecutor(1) as beside:
            executing = beside.submit(_execute_in_thread, job, here, task.parents, cold_kernels, group)
            yield from _changes(executing, checkpoint_of(job))
        yield Outcome(executing.result(), pack(attempt))
    except (StepError, OSError, LostError) as error:
        failed = job.failed.relative_to(here.root).as_posix() if job.failed and job.failed.is_file() else ""
        yield Outcome(None, pack(here.root, failed) if failed else Parcel({}, {}), error)
    finally:
        shutil.rmtree(attempt, ignore_errors=True)
        with suppress(OSError):  # another attempt lives on
            attempt.parent.rmdir()


def _execute_in_thread(*arguments: Any) -> Made:
    """Execute, and close the event loop that papermill makes for each thread."""
    from jupyter_core.utils import ensure_event_loop

    try:
        return execute_with_kernel(*arguments)
    finally:
        ensure_event_loop().close()


def own_store(group: str) -> Path:
    """Where this machine keeps what came for a run; gone with the run."""
    return common_folder(f"{group}-store")


def _recorded(store: Store, job: Job, name: Name) -> Parcel:
    """The parcel of a finished step, read once: its bytes are compared with its record as they are sent."""
    stage, key = name
    manifest = store.complete_manifest(stage, key)
    parcel = pack(store.folder(stage, key)) if manifest else Parcel({}, {})
    recorded = {file: digest for file, (digest, _) in manifest["files"].items()} if manifest else {MANIFEST: ""}
    for file, digest in recorded.items():
        if parcel.digests.get(file) != digest:
            raise DamagedInputError(job.stage, None, f"{stage} has a damaged file ({file})", name)
    return parcel


def _take_in(here: Store, task: Task, parcels: Mapping[str, Parcel]) -> None:
    """Put parcels in their places; a parent or code that is here stays, what may have changed since is replaced."""
    parents = {here.folder(*name): name for name in task.parents}
    code = here.root / code_of(task.job).relative_to(task.store.root)
    for place, parcel in parcels.items():
        folder = here.root / place
        whole = folder in parents and here.first_bad_file(*parents[folder], digests=here.digests()) is None
        if whole or (folder == code and folder.is_dir()):
            continue
        came = here.staging / unique_name()
        unpack(parcel, came)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            came.rename(folder)
        except OSError:  # another worker has just put it there, or an older one is there
            here.discard(exchange(came, folder))


def _changes(executing: Future[Made], folder: Path | None) -> Iterator[Parcel]:
    """Parcels of the files in a folder that have changed, until a job is done."""
    sent: dict[str, tuple[int, int]] = {}
    while not executing.done():
        wait([executing], _LOOK_SECONDS)
        if executing.done() or folder is None:
            continue
        stamps = _stamps(folder)
        changed = [name for name in stamps if stamps[name] != sent.get(name)]
        with suppress(OSError):
            parcel = pack(folder, *changed) if changed else None
            if parcel and _stamps(folder) == stamps:  # else files of two moments
                sent = stamps
                yield parcel


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells versions of a folder's whole files apart."""
    found = {}
    with suppress(OSError):
        for path in sorted(folder.rglob("[!.]*")):
            if path.is_file():
                stat = path.stat()
                found[path.relative_to(folder).as_posix()] = stat.st_mtime_ns, stat.st_size
    return found
