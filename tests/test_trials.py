"""A search whose trials are steps: the plan grows by those that were drawn; on stubs in place of networks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.stubs import StubProject, make_stub_project, replace_code

_DRAW = """import json
from pathlib import Path
points = [{"units": number, "optimizer": "sgd"} for number in range(search_trials)]
Path(output, "points.json").write_text(json.dumps({"points": points, "images": {"train": 10}}))"""
_TRIAL = """import json
from pathlib import Path
assert images == {"train": 10}, "the pipeline hands over what was drawn"
assert not (seed == 7 and values["units"] == 1), "a kernel that dies, so to say"
Path(output, "trial.json").write_text(json.dumps({"values": values}))
Path(output, "proof.txt").write_text("trial")"""
_SEARCH = """import json
from pathlib import Path
trials = [json.loads(Path(inputs[f"trial-{n + 1}"], "trial.json").read_text()) for n in range(search_trials)]
rows = "".join(f"{n},{trial['values']['units']},2.0\\n" for n, trial in enumerate(trials, start=1))
Path(output, "trials.csv").write_text("trial,units,seconds\\n" + rows)
found = {"train_images": 8, "validation_images": 2, "values": {}}
Path(output, "best.json").write_text(json.dumps(found))
Path(output, "proof.txt").write_text("search")"""
_VARIANT = """search: tuner
search_space: {learning_rate: {min: 0.1, max: 0.9, step: 0.1}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, stub_template: Path) -> StubProject:
    made = make_stub_project(tmp_path_factory.mktemp("trials"), stub_template, variants=1)
    for name, source in (("3_draw", _DRAW), ("3_trial", _TRIAL), ("3_search", _SEARCH)):
        proof = "" if "proof.txt" in source else '\nPath(output, "proof.txt").write_text("draw")'
        replace_code(made.root / "notebooks" / f"{name}.ipynb", source + proof)
    path = made.root / "params" / "variants" / "stub_0.yaml"
    path.write_text(path.read_text() + _VARIANT)
    return made


def _trials(said: str) -> int:
    """How many trials were made."""
    return sum(line.startswith("    trial ") and line.endswith(" s") for line in said.splitlines())


def test_a_search_that_is_extended_runs_the_new_trials_alone(project: StubProject, tmp_path: Path) -> None:
    def run(trials: int, *more: str) -> str:
        code, said = project.run(tmp_path, ["stub_0"], "--set", f"search_trials={trials}", *more)
        assert code == 0, said
        return said

    assert _trials(run(2, "--no-pdf", "--jobs", "2")) == 2
    assert _trials(run(4, "--no-pdf", "--jobs", "2")) == 2
    (wide,) = [path for path in tmp_path.glob("runs/search/*/trials.csv") if path.read_text().count("\n") == 5]
    with wide.open(newline="") as stream:
        assert [row["units"] for row in csv.DictReader(stream)] == [str(number) for number in range(4)]
    inputs = json.loads((wide.parent / "step.json").read_text())["inputs"]
    assert [name for name in inputs if "-" in name] == [f"trial-{number}" for number in range(1, 5)]
    with (tmp_path / "reports" / "smoke-selection" / "results.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["search_seconds"] == "8.0"
    # Nobody needs to know what a trial is: each look takes it as any step.
    planned = run(4, "--dry-run")
    assert "stub_0 trial-4: done" in planned and "12 steps, 0 to run" in planned, planned
    verified = run(4, "--verify")
    assert "trial 4 stub_0: " in verified and "0 are not" in verified
    cleaned = run(4, "--clean")
    assert " trial/" not in cleaned and "search/" in cleaned, cleaned  # the shorter search can go
    assert _trials(run(4, "--no-pdf", "--force", "search")) == 4


def test_a_trial_that_dies_leaves_its_search_out_and_the_others_are_kept(project: StubProject, tmp_path: Path) -> None:
    settings = ("--set", "search_trials=3", "--set", "seed=7", "--no-pdf")
    code, said = project.run(tmp_path, ["stub_0"], *settings)
    assert code == 1 and "trial 2 stub_0 FAILED" in said and "left out, trial failed before it" in said, said
    assert _trials(said) == 2
    code, said = project.run(tmp_path, ["stub_0"], *settings)
    assert code == 1 and _trials(said) == 0 and "trial 2 stub_0 FAILED" in said, said
