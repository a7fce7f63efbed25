"""Tasks in another process: a folder for each attempt, and what must be as at the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nbformat
import pytest

from bakeoff.errors import StepError
from bakeoff.executors import Needs, Task
from bakeoff.executors.remote import Likeness, execute_here, moved
from bakeoff.plan.machine import numeric_variables, processor
from bakeoff.plan.software import package_versions
from bakeoff.run.execute import Job
from bakeoff.store import Store
from bakeoff.store.staging import Staging, unseen
from tests.stubs import commit

PARENT = ("load", "0" * 40)
READ = """from pathlib import Path
Path(output, 'out.txt').write_text(Path(inputs['load'], 'in.txt').read_text() * 2 + output)"""
ALIKE = Likeness(package_versions(), processor(), numeric_variables())


def make_task(root: Path, source: str = READ) -> Task:
    """A step that doubles its parent's text, in a store below `root`."""
    store = Store(root / "runs")
    store.folder(*PARENT).mkdir(parents=True)
    (store.folder(*PARENT) / "in.txt").write_text("word ")
    commit(store, *PARENT, {})
    notebook = root / "runs" / "code" / "0" / "notebooks" / "n.ipynb"
    notebook.parent.mkdir(parents=True)
    cells = [nbformat.v4.new_code_cell("inputs, output = None, None", metadata={"tags": ["parameters"]})]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), notebook)
    staged = root / "runs" / ".staging" / "run" / "train-1"
    inputs = {"load": str(store.folder(*PARENT)), "checkpoint": str(store.checkpoint("train", "1" * 40))}
    job = Job(
        *("train", notebook, staged, {"inputs": inputs, "output": str(staged)}, ("out.txt",)),
        *({"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": f"{notebook.parent.parent}:/usr/share"}, "python3", 60),
        published=store.folder("train", "1" * 40),
        failed=store.failed("train", "1" * 40),
    )
    return Task(job, store, (PARENT,), Needs(), "train x")


def test_each_attempt_has_a_folder_of_its_own_and_another_machine_is_refused(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    staging = Staging(task.store)
    staging.open()
    made = execute_here(task, staging.folder, ALIKE, True, "test")
    assert made.folder and made.folder.parent == task.job.folder and "cores" in made.machine
    assert (made.folder / "out.txt").read_text() == f"word word {task.job.published}"
    with pytest.raises(StepError, match=r"has keras .* where this run has 0"):
        execute_here(task, staging.folder, dataclasses.replace(ALIKE, versions={"keras": "0"}), True, "test")
    with pytest.raises(StepError, match="another processor"):
        execute_here(task, staging.folder, dataclasses.replace(ALIKE, processor="abacus"), True, "test")
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(StepError, match="has MKL_CBWR set to AVX where this run"),
    ):
        patch.setenv("MKL_CBWR", "AVX")
        execute_here(task, staging.folder, ALIKE, True, "test")
    staging.close()
    with pytest.raises(StepError, match="does not see"):
        execute_here(task, staging.folder, ALIKE, True, "test")


def test_locks_and_renames_are_tried(tmp_path: Path) -> None:
    staging = Staging(Store(tmp_path))
    staging.open()
    assert unseen(staging.folder) == "" and not list(staging.folder.iterdir())
    assert staging._lock is not None
    staging._lock.release()
    assert "does not see the lock" in unseen(staging.folder)
    staging.close()
    assert "does not see" in unseen(staging.folder)


def test_paths_are_moved_wherever_they_stand(tmp_path: Path) -> None:
    job = moved(make_task(tmp_path).job, {tmp_path / "runs" / "code" / "0": Path("/x"), tmp_path / "runs": Path("/y")})
    assert job.notebook == Path("/x/notebooks/n.ipynb") and job.environment["PYTHONPATH"] == "/x:/usr/share"
    assert job.published == Path(f"/y/train/{'1' * 32}")
    assert json.loads(json.dumps(job.parameters["inputs"]))["load"] == f"/y/load/{PARENT[1][:32]}"
