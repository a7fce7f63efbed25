"""One notebook in a real kernel: what counts as success, and what each failure is called."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nbformat
import pytest

from bakeoff.errors import StepError
from bakeoff.execute import FAILED, Job, execute


def _job(tmp_path: Path, *sources: str, outputs: tuple[str, ...] = (), timeout_seconds: int = 60) -> Job:
    cells = [nbformat.v4.new_code_cell("output = None", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "stub.ipynb"
    nbformat.write(notebook, path)
    folder = tmp_path / "step"
    return Job(
        "train", path, folder, {"output": str(folder)}, outputs, {"GREETING": "hello"}, "python3", timeout_seconds
    )


def test_a_step_runs_in_its_folder_with_its_parameters_and_environment(tmp_path: Path) -> None:
    source = "import os, pathlib\npathlib.Path(output, 'a.txt').write_text(os.environ['GREETING'] + os.getcwd())"
    assert execute(_job(tmp_path, source, outputs=("a.txt",))).seconds > 0
    assert (tmp_path / "step" / "a.txt").read_text() == f"hello{tmp_path / 'step'}"
    executed = nbformat.read(tmp_path / "step" / "notebook.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('the learning rate is too high')", "code cell 3: ValueError: the learning rate is too high"),
        ("import sys; sys.exit(0)", "code cell 3: SystemExit: 0"),
        ("import os; os._exit(0)", "code cell 3: the kernel died"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "code cell 3: the kernel died"),
    ],
)
def test_a_failure_is_named_with_its_cell(tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(StepError) as caught:
        execute(_job(tmp_path, source, "done = True"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "step" / "notebook.ipynb").exists()
    assert (tmp_path / "step" / FAILED).exists() or "kernel died" in reason


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="code cell 3: the stage ran longer than 5 s"):
        execute(_job(tmp_path, "import time; time.sleep(60)", timeout_seconds=5))


def test_the_time_limit_is_that_of_all_cells_together(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="longer than 6 s"):
        execute(_job(tmp_path, *["import time; time.sleep(2.5)"] * 5, timeout_seconds=6))


def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    job = _job(tmp_path, "open('/dev/full', 'w').write('x' * 100_000)")
    with pytest.raises(StepError, match="No space left on device"):
        execute(job)
    (tmp_path / "stub.ipynb").write_text("{")
    with pytest.raises(StepError, match="train: "):
        execute(job)


def test_every_line_of_the_first_cell_arrives(tmp_path: Path) -> None:
    for _ in range(3):
        execute(_job(tmp_path, "print('\\n'.join(map(str, range(1000))))"))
        executed = nbformat.read(tmp_path / "step" / "notebook.ipynb", as_version=4)
        assert executed.cells[-1].outputs[0].text.split() == [str(number) for number in range(1000)]


def test_a_kernel_that_ends_at_its_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "jupyter" / "kernels" / "mute"
    folder.mkdir(parents=True)
    mute = {"argv": ["python", "-c", "pass"], "display_name": "Mute", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(mute))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    with pytest.raises(StepError, match="the kernel died before it answered"):
        execute(dataclasses.replace(_job(tmp_path, "1"), kernel="mute"))


def test_a_notebook_that_writes_nothing_has_failed(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"did not write metrics\.json"):
        execute(_job(tmp_path, "1 + 1", outputs=("metrics.json",)))


def test_a_good_run_takes_the_place_of_a_failed_one(tmp_path: Path) -> None:
    with pytest.raises(StepError):
        execute(_job(tmp_path, "1 / 0"))
    execute(_job(tmp_path, "1 / 1"))
    assert not (tmp_path / "step" / FAILED).exists()
    assert not list((tmp_path / "step").glob(".*"))
