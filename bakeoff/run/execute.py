"""One notebook, executed by papermill in a worker process; success is what is checked here afterwards."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.errors import StepError
from bakeoff.run.peak import PeakMemory
from bakeoff.store import NOTEBOOK, digest_file, digest_folder

if TYPE_CHECKING:
    from traitlets.config import Config

FAILED = "failed.ipynb"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_SENTENCES = ("ValueError", "NetworkError")  # what the lab raises for a user to read; its own kind is NetworkError
_TEXTS = {".ipynb", ".json", ".csv", ".txt", ".md", ".html", ".svg", ".yaml", ".yml", ".log"}

Files = Mapping[str, Sequence[Any]]  # path below a step's folder -> its digest and size


@dataclass(frozen=True)
class Job:
    """All that a worker needs to execute one step; nothing in it refers to the plan."""

    stage: str
    notebook: Path
    folder: Path  # empty, or not there: where the step is made
    parameters: Mapping[str, Any]
    outputs: Sequence[str]
    environment: Mapping[str, str]  # of the kernel, beside what the worker began with
    kernel: str
    timeout_seconds: int
    sockets: Path | None = None  # folder for the kernel's Unix sockets; None: TCP ports
    published: Path | None = None  # where the folder will be when the step is finished; None: where it is
    failed: Path | None = None  # where the notebook goes when it fails; None: failed.ipynb in the folder
    texts: Mapping[str, str] = field(default_factory=dict)  # files that are there before the notebook starts
    kept: Files = field(default_factory=dict)  # files of the published step: its page alone is made
    called: Mapping[Path, Path] = field(default_factory=dict)  # folder here -> what stored texts call it
    device: str = ""  # cpu or gpu: what the step's key says that it computes on; empty: it computes on nothing


@dataclass(frozen=True)
class Made:
    """What became of a job: how long it took, its files, and whether the numbers are those that were there before."""

    seconds: float
    files: Files
    page_only: bool
    peak_memory: int | None = None  # bytes of its kernel at most; None: not seen
    device: Mapping[str, str] | None = None  # what the kernel computed on; None: no backend came up in it
    folder: Path | None = None  # where it was made; None: in the job's folder
    machine: Mapping[str, Any] = field(default_factory=dict)  # what of the machine was another one than the command's


def execute(job: Job) -> Made:
    """Execute the job's notebook in its folder, with the job's environment and nothing of an earlier job's.

    Success is that every code cell ran and every output is there. Raises StepError otherwise, whatever happened, and
    keeps what was executed.
    """
    with _environment(job.environment):
        return _execute(job)


def _execute(job: Job) -> Made:
    executed = job.folder / NOTEBOOK
    started = time.perf_counter()
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        taken_over = _take_over(job)
        for name, text in job.texts.items():
            (job.folder / name).write_text(text, encoding="utf-8")
        with PeakMemory(job.folder) as peak:
            device = _run(job, executed)
        _check(job, executed)
        seconds = time.perf_counter() - started
        (job.failed or job.folder / FAILED).unlink(missing_ok=True)
        _name_published(job, job.folder.rglob("*"))
        files = digest_folder(job.folder)
    except Exception as error:
        with suppress(OSError):
            _keep_failed(job, executed)
        raise error if isinstance(error, StepError) else StepError(job.stage, None, _in_words(error)) from None
    same = all(list(files[name]) == list(job.kept[name]) for name in job.outputs) if taken_over else False
    return Made(seconds, files, same, peak.bytes, device)


@contextmanager
def _environment(chosen: Mapping[str, str]) -> Iterator[None]:
    """The worker's environment with these variables, and without start-up files; afterwards it is as it was."""
    before = dict(os.environ)
    os.environ.update(chosen)
    os.environ.pop("PYTHONSTARTUP", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _take_over(job: Job) -> bool:
    """Copy the published step's files, so that its notebook finds its results; nothing where one is damaged."""
    if job.published is None or not job.kept or any(name not in job.kept for name in job.outputs):
        return False
    for name, (digest, _) in job.kept.items():
        if name == NOTEBOOK:
            continue
        target = job.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(job.published / name, target)
            whole = digest_file(target) == digest
        except FileNotFoundError:
            whole = False
        if not whole:
            shutil.rmtree(job.folder)
            job.folder.mkdir()
            return False
    return True


def _name_published(job: Job, paths: Iterable[Path]) -> None:
    """Have text files name the folder where the step will be, not the one where it was made."""
    names = {**({job.folder: job.published} if job.published else {}), **job.called}
    # What differs has plain letters, so that it reads the same in JSON and in code, whatever the rest of the path has.
    roots = [(os.path.commonpath(pair), pair) for pair in names.items()]
    pairs = [[os.path.relpath(folder, root).encode() for folder in pair] for root, pair in roots]
    for path in paths:
        if path.suffix not in _TEXTS or not path.is_file():
            continue
        text = before = path.read_bytes()
        for here, there in pairs:
            text = text.replace(here, there)
        if text != before:
            path.write_bytes(text)


def _keep_failed(job: Job, executed: Path) -> None:
    """Keep the notebook of an execution that failed, and none where a later one did not come so far."""
    failed = job.failed or job.folder / FAILED
    _name_published(job, [executed])
    failed.parent.mkdir(parents=True, exist_ok=True)
    executed.replace(failed)


def _run(job: Job, executed: Path) -> dict[str, str] | None:
    """papermill's execution; returns what the kernel computed on."""
    import nbclient.exceptions
    import papermill

    from bakeoff.warm.provisioner import make_known

    make_known()
    cell, device = 0, None
    end = time.monotonic() + job.timeout_seconds

    def count(**_: object) -> None:
        nonlocal cell
        cell += 1

    def look(execute_reply: Mapping[str, Any], **_: object) -> None:
        nonlocal device
        device = _device(execute_reply) or device
        if device and job.device and device["device"] != job.device:
            reason = (
                f"it computes on a {device['device'].upper()} where its key says {job.device.upper()}; look whether "
                "another program holds the GPU, and run the same command again"
            )
            raise StepError(job.stage, cell, reason)

    try:
        papermill.execute_notebook(
            job.notebook,
            executed,
            parameters=dict(job.parameters),
            kernel_name=job.kernel,
            progress_bar=False,
            request_save_on_cell_execute=False,
            timeout_func=lambda _: max(1, int(end - time.monotonic())),  # what is left of the stage's time
            on_cell_execute=count,
            on_cell_executed=look,
            cwd=str(job.folder),
            coalesce_streams=True,
            config=_connection(job),
        )
    except papermill.PapermillExecutionError as error:
        said = error.evalue if error.evalue.strip() else _last_printed(executed)
        raise StepError(job.stage, error.exec_count, _what_failed(error.ename, said)) from None
    except nbclient.exceptions.CellTimeoutError:
        reason = f"the stage ran longer than {job.timeout_seconds} s; raise stage_timeout_seconds if that is right"
        raise StepError(job.stage, cell, reason) from None
    except nbclient.exceptions.DeadKernelError:
        reason = "the kernel died in this cell (often: out of memory); run the same command again"
        raise StepError(job.stage, cell, reason) from None
    return device


def _device(reply: Mapping[str, Any]) -> dict[str, str] | None:
    """What a cell's reply says of the device; None where it says nothing (a failed cell, no backend yet)."""
    from bakeoff.warm.kernel_client import DEVICE

    said = reply.get("content", {}).get("user_expressions", {}).get(DEVICE, {}).get("data", {})
    try:
        found: dict[str, str] | None = json.loads(ast.literal_eval(said["text/plain"]))
    except (KeyError, ValueError, SyntaxError, TypeError):
        return None
    return found


def _connection(job: Job) -> Config:
    """A client that begins at once; Unix sockets in a folder that only this user can open, in place of TCP ports, which
    every user can reach.
    """
    from traitlets.config import Config

    manager = {"client_class": "bakeoff.warm.kernel_client.PromptClient"}
    if job.sockets is not None:
        # Without an address of its own, jupyter_client takes names relative to the folder it happens to run in.
        manager |= {"transport": "ipc", "ip": str(job.sockets / str(os.getpid()))}
    return Config(KernelManager=manager)


def _check(job: Job, executed: Path) -> None:
    """papermill reports killed kernels and sys.exit() as success: look at the cells and the files ourselves."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    for number, cell in enumerate(code, start=1):
        if cell["execution_count"] is None:
            raise StepError(
                job.stage, number, "this cell never ran; the kernel ended before it. Run the same command again"
            )
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                raise StepError(job.stage, number, _what_failed(output["ename"], output["evalue"]))
    for name in job.outputs:
        if not (job.folder / name).is_file():
            raise StepError(job.stage, None, f"the notebook ran but did not write {name}")


def _what_failed(kind: str, said: str) -> str:
    """An exception in one line, with its name unless what it says is a sentence for users, as the lab's errors are."""
    return _one_line(said) if kind in _SENTENCES and said.strip() else f"{kind}: {_one_line(said)}"


def _in_words(error: Exception) -> str:
    """An error that is not the notebook's own: a full disk, a kernel that does not start."""
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return f"could not write or start: {error.strerror}{place}; mend that and run the same command again"
    return f"{type(error).__name__}: {_one_line(str(error))}"


def _last_printed(executed: Path) -> str:
    """The last line that a notebook printed as an error: all there is where a kernel could not say what is wrong."""
    printed = ""
    with suppress(OSError, ValueError, KeyError):
        for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    printed = "".join(output["text"]).strip() or printed
    return printed.splitlines()[-1] if printed else ""


def _one_line(text: str) -> str:
    lines = [line.strip() for line in _COLORS.sub("", text).splitlines() if line.strip()]
    return " ".join(lines)[:500] if lines else "no message"
