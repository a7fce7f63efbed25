"""A plan that grows while it runs: trials, and then the step that reads what all of them found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bakeoff.params import load_parameters
from bakeoff.plan.explain import explain
from bakeoff.plan.resolve import Machine
from bakeoff.plan.steps import STAGES, Plan, Row, Stage, Step
from bakeoff.results import stage_folders
from bakeoff.run.progress import LiveTable
from bakeoff.run.runner import Runner
from bakeoff.store import Store

_SOURCE = """import json, pathlib
folders = {name: folder for name, folder in (inputs or {}).items() if name not in ('shared', 'checkpoint')}
found = {name: json.loads(pathlib.Path(folder, 'made.json').read_text()) for name, folder in folders.items()}
pathlib.Path(output, 'made.json').write_text(json.dumps([number, found]))"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage whose notebook writes down its number and what it finds in its parents."""
    cells = [
        nbformat.v4.new_code_cell("inputs, output, number = {}, '', 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(_SOURCE),
    ]
    notebook = tmp_path / "stub.ipynb"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), notebook)
    return dataclasses.replace(STAGES["search"], notebook=str(notebook.with_suffix("")), outputs=("made.json",))


def _step(stage: Stage, key: str, number: int = 0, inputs: dict[str, str] | None = None) -> Step:
    parts: dict[str, Any] = {"stage": stage.name, "parameters": {"number": number}, "versions": {}, "settings": {}}
    return Step(stage, {"number": number}, inputs or {}, parts, key * 64, key * 64, number=number)


def test_steps_that_are_added_run_and_progress_results_and_explain_follow(tmp_path: Path, stage: Stage) -> None:
    store, machine = Store(tmp_path / "runs"), Machine("tensorflow", 2, {})
    first = _step(stage, "1", 1)
    source: Any = None
    row = Row(load_parameters(("simple_cnn",), "smoke")[0], 0, 0, source, "none", {})
    plan = Plan([row], [], {}, machine, first)
    plan.add([first], store, row)
    found = dataclasses.replace(stage, name="train")

    def grow(step: Step) -> None:
        if step is first:  # what the first trial found asks for two more
            plan.add([_step(stage, "2", 2), _step(stage, "3", 3)], store, row)
        elif not {f"search-{number}" for number in (1, 2, 3)} - set(stage_folders(row, store)):
            trials = {label: each.result_key for label, each in row.steps.items() if each.stage is stage}
            plan.add([_step(found, "4", inputs=trials)], store, row)

    said: list[str] = []
    with Runner(store, machine, tmp_path, said.append, 2, cold_kernels=True, on_finished=grow) as runner:
        runner.run(plan)
    assert not runner.failures, said
    assert list(row.steps) == ["search-1", "search-2", "search-3", "train"]
    made = json.loads((Path(stage_folders(row, store)["train"]) / "made.json").read_text())
    assert made == [0, {f"search-{number}": [number, {}] for number in (1, 2, 3)}]
    assert set(stage_folders(row, store)) == set(row.steps)
    peak = (store.read_manifest(*first.name) or {})["peak_memory"]  # of a kernel that imported next to nothing
    assert 10e6 < peak < 500e6
    assert "[4/4] train simple_cnn (new)" in said
    lines = [line for line in explain(plan, store) if line.startswith("simple_cnn")]
    assert [line.split(":")[0] for line in lines] == [f"simple_cnn {label}" for label in row.steps]
    table = LiveTable(plan, store, said.append, ended={("search", "1" * 64): "1 s", ("search", "2" * 64): "1 s"})
    assert table._cell([step for step in row.steps.values() if step.stage is stage]) == "2/3"
    again = Plan([row], [], {}, machine, first)
    again.add(row.steps.values(), store, row)
    assert not again.reasons  # all is made


def test_a_step_whose_parent_is_damaged_waits_until_that_is_made_again(tmp_path: Path, stage: Stage) -> None:
    """Its files are looked at by the worker that reads them, not by the scheduler for each child."""
    store, machine = Store(tmp_path / "runs"), Machine("tensorflow", 2, {})
    parent, other = _step(stage, "1", 1), _step(stage, "5", 5)
    children = [_step(stage, key, int(key), {"search-1": parent.result_key}) for key in "23"]
    source: Any = None
    row = Row(load_parameters(("simple_cnn",), "smoke")[0], 0, 0, source, "none", {})
    plan = Plan([row], [], {}, machine, parent)
    plan.add([parent], store, row)
    said: list[str] = []
    with Runner(store, machine, tmp_path, said.append, 2, cold_kernels=True) as runner:
        runner.run(plan)
    path = store.folder(*parent.name) / "made.json"
    path.write_text(path.read_text().replace("1", "9"))
    again = Plan([row], [parent], {}, machine, parent)
    again.add([*children, other], store, row)
    assert parent.name not in again.reasons  # so it seems, by its size
    with Runner(store, machine, tmp_path, said.append, 2, cold_kernels=True) as runner:
        runner.run(again)
    assert not runner.failures, said
    assert sum("search has a damaged file (made.json); it reruns." in line for line in said) == 1
    for child in children:
        made = json.loads((store.folder(*child.name) / "made.json").read_text())
        assert made == [child.number, {"search-1": [1, {}]}]
