"""One notebook, executed by papermill in a worker process; success is what is checked here afterwards."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.errors import StepError

if TYPE_CHECKING:
    from traitlets.config import Config

FAILED = "failed.ipynb"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Job:
    """All that a worker needs to execute one step; nothing in it refers to the plan."""

    stage: str
    notebook: Path
    folder: Path
    parameters: Mapping[str, Any]
    outputs: Sequence[str]
    environment: Mapping[str, str]
    kernel: str
    timeout_seconds: int
    sockets: Path | None = None  # folder for the kernel's Unix sockets; None: TCP ports


def execute(job: Job) -> float:
    """Execute the job's notebook in its folder; returns the seconds it took.

    The executed notebook is put in place only when every code cell ran and every output is there.
    Raises StepError otherwise, whatever happened, and leaves what was executed as failed.ipynb.
    """
    os.environ.update(job.environment)
    job.folder.mkdir(parents=True, exist_ok=True)
    executed = job.folder / f".executed.{os.getpid()}.partial.ipynb"
    started = time.perf_counter()
    try:
        _run(job, executed)
        _check(job, executed)
    except Exception as error:
        with suppress(OSError):
            executed.replace(job.folder / FAILED)
        raise error if isinstance(error, StepError) else StepError(job.stage, None, _in_words(error)) from None
    (job.folder / FAILED).unlink(missing_ok=True)
    executed.replace(job.folder / "notebook.ipynb")
    return time.perf_counter() - started


def _run(job: Job, executed: Path) -> None:
    import nbclient.exceptions
    import papermill

    cell = 0
    end = time.monotonic() + job.timeout_seconds

    def count(**_: object) -> None:
        nonlocal cell
        cell += 1

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
            cwd=str(job.folder),
            coalesce_streams=True,
            config=_connection(job),
        )
    except papermill.PapermillExecutionError as error:
        raise StepError(job.stage, error.exec_count, f"{error.ename}: {_one_line(error.evalue)}") from None
    except nbclient.exceptions.CellTimeoutError:
        reason = f"the stage ran longer than {job.timeout_seconds} s; raise stage_timeout_seconds if that is right"
        raise StepError(job.stage, cell, reason) from None
    except nbclient.exceptions.DeadKernelError:
        reason = "the kernel died in this cell (often: out of memory); run the same command again"
        raise StepError(job.stage, cell, reason) from None


def _connection(job: Job) -> Config:
    """A client that begins at once; Unix sockets in a folder that only this user can open, in place of TCP ports, which
    every user can reach.
    """
    from traitlets.config import Config

    manager = {"client_class": "bakeoff.kernel_client.PromptClient"}
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
                raise StepError(job.stage, number, f"{output['ename']}: {_one_line(output['evalue'])}")
    for name in job.outputs:
        if not (job.folder / name).is_file():
            raise StepError(job.stage, None, f"the notebook ran but did not write {name}")


def _in_words(error: Exception) -> str:
    """An error that is not the notebook's own: a full disk, a kernel that does not start."""
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return f"could not write or start: {error.strerror}{place}; mend that and run the same command again"
    return f"{type(error).__name__}: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    lines = [line.strip() for line in _COLORS.sub("", text).splitlines() if line.strip()]
    return " ".join(lines)[:500] if lines else "no message"
