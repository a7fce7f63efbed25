"""Code that is edited while a run goes on: what was digested is what runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakeoff.plan.snapshot import current, take_snapshot
from bakeoff.store import Store
from tests.stubs import StubProject, make_stub_project

# A step that edits the project that runs it, before the last step of the same run begins.
_EDIT = """
from pathlib import Path
marker = Path({root!r}, "bakeoff/lab/marker.py")
notebook = Path({root!r}, "notebooks/6_evaluate.ipynb")
if "before" in marker.read_text():
    marker.write_text("VALUE = 'after'")
    notebook.write_text(notebook.read_text().replace("the cell before", "the cell after"))
"""
_MARK = """
from pathlib import Path
from bakeoff.lab.marker import VALUE
Path(output, "marker.txt").write_text(VALUE + ", the cell before")
"""


def _append(path: Path, source: str) -> None:
    notebook = json.loads(path.read_text())
    cell = {"cell_type": "code", "id": "appended", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"].append({**cell, "source": source})
    path.write_text(json.dumps(notebook))


@pytest.fixture
def project(tmp_path: Path, stub_template: Path) -> StubProject:
    made = make_stub_project(tmp_path, stub_template, variants=1)
    (made.root / "bakeoff/lab/marker.py").write_text("VALUE = 'before'")
    _append(made.root / "notebooks/4_build.ipynb", _EDIT.format(root=str(made.root)))
    _append(made.root / "notebooks/6_evaluate.ipynb", _MARK)
    return made


@pytest.mark.parametrize("kernels", [(), ("--cold-kernels",)])
def test_results_are_those_of_the_code_that_their_key_names(
    project: StubProject, tmp_path: Path, kernels: tuple[str, ...]
) -> None:
    code, said = project.run(tmp_path, ["stub_0"], "--no-pdf", "--jobs", "1", *kernels)
    assert code == 0, said
    (first,) = (tmp_path / "runs" / "evaluate").glob("*/marker.txt")
    assert first.read_text() == "before, the cell before"
    assert "VALUE = 'after'" in (project.root / "bakeoff/lab/marker.py").read_text()
    code, said = project.run(tmp_path, ["stub_0"], "--no-pdf", "--jobs", "1", *kernels)
    assert code == 0, said
    markers = {path.parent.name: path.read_text() for path in (tmp_path / "runs" / "evaluate").glob("*/marker.txt")}
    assert markers.pop(first.parent.name) == "before, the cell before"
    assert list(markers.values()) == ["after, the cell after"]


def test_a_snapshot_is_made_once_a_version_of_the_code(project: StubProject, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = take_snapshot(store, project.root)
    stat = (first / "bakeoff/lab/marker.py").stat()
    assert take_snapshot(store, project.root) == first
    assert (first / "bakeoff/lab/marker.py").stat() == stat
    (project.root / "bakeoff/lab/marker.py").write_text("VALUE = 'other'")
    assert take_snapshot(store, project.root) != first
    assert (first / "bakeoff/lab/marker.py").read_text() == "VALUE = 'before'"
    assert len(list((store.root / "code").iterdir())) == 2
    networks = {"own_networks/mine.py": b"x = 1"}
    there = [first, take_snapshot(store, project.root), take_snapshot(store, project.root, networks)]
    assert current(there, project.root, networks) == there[1:]
    assert current(there, project.root, {"own_networks/mine.py": b"x = 2"}) == there[1:2]
