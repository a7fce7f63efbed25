"""A notebook opened by hand, Run All, with nothing injected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest

from bakeoff import warm


def _run_all(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch, kernel: str = "python3", **parameters: object
) -> list[str]:
    """Execute notebooks/<name>.ipynb as Jupyter does, in its folder; what its cells printed."""
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.setenv("TFDS_DATA_DIR", str(project / "data"))
    monkeypatch.setenv("KERAS_HOME", str(project / "keras"))
    path = project / "notebooks" / f"{name}.ipynb"
    done = papermill.execute_notebook(
        path, project / "out.ipynb", parameters, kernel_name=kernel, progress_bar=False, cwd=str(path.parent)
    )
    return ["".join(output.get("text", "") for output in cell.get("outputs", [])) for cell in done.cells]


@pytest.mark.usefixtures("fork_server")
def test_train_finds_or_makes_what_it_needs(project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_copy()
    small = {"epochs": 1}
    printed = "\n".join(_run_all(project, "5_train", monkeypatch, **small))
    assert "Making load first" in printed and "Making build first" in printed
    assert (project / "runs" / "by_hand" / "train" / "training.json").is_file()
    assert "Making" not in "\n".join(_run_all(project, "5_train", monkeypatch, warm.KERNEL, **small))


def test_a_data_set_that_was_named_is_not_replaced(
    project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"dataset": "bakeoff_has_no_such_set", "max_train_examples": 200, "max_test_examples": 50}
    with pytest.raises(Exception, match="bakeoff_has_no_such_set is not in"):
        _run_all(project_copy(), "1_load", monkeypatch, **small)


def test_injected_folders_are_left_alone() -> None:
    from bakeoff.interactive import resolve_inputs

    assert resolve_inputs("train", {"inputs": {"load": "a"}, "output": "b"}) == ({"load": "a"}, "b")


def test_notebooks_are_valid() -> None:
    for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb")):
        nbformat.validate(nbformat.read(path, as_version=4))
        assert path.stat().st_size < 60_000, f"{path.name} carries more than text"


@pytest.mark.usefixtures("fork_server")
def test_cells_that_are_changed_and_run_again_by_hand_are_not_answered_from_before(
    project_copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_copy()
    path = project / "notebooks" / "1_load.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    setup = next(cell for cell in code if "resolve_inputs(" in cell.source)
    loads = next(cell for cell in code if "data.load(" in cell.source)
    # In one kernel: everything, then the load cell for fewer images, then the set-up cell and the load cell.
    fewer = nbformat.v4.new_code_cell(f"max_train_examples = 30\n{loads.source}\nprint('first', len(data_set.train))")
    fresh = nbformat.v4.new_code_cell(f"{setup.source}\nimport os\nprint('left', os.listdir(output))")
    notebook.cells = [*notebook.cells, fewer, fresh]
    nbformat.write(notebook, path)
    small = {"dataset": "shapes10", "max_train_examples": 60, "max_test_examples": 20}
    printed = "\n".join(_run_all(project, "1_load", monkeypatch, warm.KERNEL, **small))
    assert "first 30" in printed and "left []" in printed
