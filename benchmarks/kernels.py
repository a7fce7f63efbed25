"""A notebook with the usual imports: warm kernel, cold kernel, the papermill command."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import nbformat

from bakeoff import warm
from bakeoff.run.execute import Job, execute
from bakeoff.warm.client import Server
from benchmarks.common import Case, in_turn, median, run

ROUNDS = 7
_SOURCES = (
    "inputs, output = {}, ''",
    "import keras, numpy, pandas, seaborn, keras_tuner, tensorflow_datasets\nimport matplotlib.pyplot as plt",
    "figure, axes = plt.subplots()\naxes.plot(numpy.arange(10) ** 2)\nplt.show()",
    "pandas.DataFrame({'epoch': range(3), 'accuracy': [0.1, 0.2, 0.3]})",
)


def measure(folder: Path) -> Case:
    """Seconds from the call to the finished notebook; for the warm kernel also without the cells' own work."""
    notebook = _notebook(folder)
    overheads: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bakeoff-") as sockets:
        server = Server({}, folder / "log")
        server.start(Path(sockets))
        if not server.wait():
            raise RuntimeError("the fork server did not start: " + (folder / "log").read_text(encoding="utf-8"))
        try:
            warmed = _through(notebook, folder / "warm", warm.KERNEL, Path(sockets), server.path, overheads)
            cold = _through(notebook, folder / "cold", "python3", Path(sockets), server.path, [])
            warmed()  # papermill's own imports, which every worker does once
            overheads.clear()
            command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(folder / "out.ipynb")]
            sides = {"warm kernel": warmed, "cold kernel": cold, "papermill command": lambda: run(command, folder)}
            seconds = in_turn(sides, ROUNDS)
        finally:
            server.stop()
    seconds["warm kernel, without the cells' own work"] = overheads
    overhead, papermill = median(overheads), median(seconds["papermill command"])
    return Case(
        "Kernels",
        "One notebook of four cells (imports of keras, seaborn, keras_tuner, tensorflow_datasets; a figure; a table).",
        seconds,
        {
            "overhead of a notebook in a warm kernel, in seconds": overhead,
            "that overhead over the papermill command": overhead / papermill,
            "warm kernel over cold kernel": median(seconds["warm kernel"]) / median(seconds["cold kernel"]),
        },
        {
            "overhead of a notebook in a warm kernel, in seconds": 0.5,
            "that overhead over the papermill command": 1 / 12,
        },
    )


def _notebook(folder: Path) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in _SOURCES]
    cells[0]["metadata"]["tags"] = ["parameters"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "usual.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def _through(
    notebook: Path, folder: Path, kernel: str, sockets: Path, server: Path, overheads: list[float]
) -> Callable[[], float]:
    """Bakeoff's own way to execute a step, timed."""
    environment = {"JUPYTER_PATH": str(warm.JUPYTER_PATH), warm.SOCKET_VARIABLE: str(server)}
    job = Job("stub", notebook, folder, {"inputs": {}, "output": str(folder)}, (), environment, kernel, 600, sockets)

    def once() -> float:
        begun = time.perf_counter()
        execute(job)
        seconds = time.perf_counter() - begun
        overheads.append(seconds - _work(folder / "notebook.ipynb"))
        return seconds

    return once


def _work(executed: Path) -> float:
    """Seconds that the kernel was busy with the cells, by its own clock."""
    total = 0.0
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        times = cell["metadata"].get("execution", {})
        if "iopub.status.busy" in times and "iopub.status.idle" in times:
            busy, idle = (datetime.fromisoformat(times[f"iopub.status.{state}"]) for state in ("busy", "idle"))
            total += (idle - busy).total_seconds()
    return total
