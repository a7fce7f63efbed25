"""A search whose trials are steps: the plan grows by those that were drawn; on stubs in place of networks."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.stubs import LIGHT, StubProject, make_stub_project, replace_code

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
best = max((trial["values"]["units"] for trial in trials), key=[4, 9, 6, 10].__getitem__)
training = {"optimizer": "sgd", "learning_rate": 0.5, "optimizer_options": {}}
chosen = {"builder_options": {"filters": best}, "training": training}
found = {"train_images": 8, "validation_images": 2, "values": {}, "trial": best + 1, **chosen}
Path(output, "best.json").write_text(json.dumps(found))
Path(output, "proof.txt").write_text("search")"""
# What the search found are the parameters of what follows; and it had half of what `smoke` allows.
_FOLLOWS = """
assert builder_options["filters"] in (1, 3) and "search" not in inputs
"""
_TRAINS = """
assert (optimizer, learning_rate, max_training_tflop) == ("sgd", 0.5, 0.025)
"""
_VARIANT = """search: tuner
search_space: {learning_rate: {min: 0.1, max: 0.9, step: 0.1}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, stub_template: Path) -> StubProject:
    made = make_stub_project(tmp_path_factory.mktemp("trials"), stub_template, variants=1)
    for name, source in (("3_draw", _DRAW), ("3_trial", _TRIAL), ("3_search", _SEARCH)):
        proof = "" if "proof.txt" in source else '\nPath(output, "proof.txt").write_text("draw")'
        replace_code(made.root / "notebooks" / f"{name}.ipynb", source + proof)
    for name, source in (("4_build", _FOLLOWS), ("5_train", _FOLLOWS + _TRAINS)):
        stub = made.root / "notebooks" / f"{name}.ipynb"
        replace_code(stub, source + json.loads(stub.read_text())["cells"][-1]["source"])
    path = made.root / "params" / "variants" / "stub_0.yaml"
    path.write_text(path.read_text() + _VARIANT)
    return made


def _made(said: str, stage: str) -> int:
    """How many steps of a stage were made."""
    return sum(line.startswith(f"    {stage} ") and line.endswith(" s") for line in said.splitlines())


def _trials(said: str) -> int:
    return _made(said, "trial")


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
    beside = tmp_path.glob("reports/smoke-selection/notebooks/stub_0/trial-*.ipynb")
    assert [path.stem for path in beside] == ["trial-4"], "the best one's, of perhaps hundreds"
    # Nobody needs to know what a trial is: each look takes it as any step.
    planned = run(4, "--dry-run")
    assert "stub_0 trial-4: done" in planned and "12 steps, 0 to run." in planned, planned
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


def test_a_training_is_known_by_what_the_search_found_and_not_by_its_trials(
    project: StubProject, tmp_path: Path
) -> None:
    def say(trials: int, *more: str) -> str:
        code, said = project.run(tmp_path, ["stub_0"], "--set", f"search_trials={trials}", *more)
        assert code == 0, said
        return said

    def run(trials: int, *more: str) -> list[int]:
        said = say(trials, "--no-pdf", *more)
        return [_made(said, stage) for stage in ("trial", "search", "build", "train", "evaluate")]

    assert run(2) == [2, 1, 1, 1, 1]
    assert run(3) == [1, 1, 0, 0, 0]  # which finds the same
    # What is not known yet is said to be so, and what may be asked for again is kept.
    unknown = "stub_0 train: to run or done, by what its search finds"
    said = say(4, "--dry-run")
    assert unknown in said and "2 to run, and then the trials of 1 search and what follows from 1 search." in said, said
    assert unknown in _command(project.command(tmp_path, [], "--set", "search_trials=4", "--explain", "stub_0"))
    assert "train stub_0: not looked at, since its search has found nothing yet" in say(4, "--verify")
    said = say(4, "--clean", "--yes")
    assert "Kept: 6 steps among them that a search which has not ended may ask for." in said, said
    assert run(4) == [1, 1, 1, 1, 1]  # the fourth point is the best one
    assert " train/" in say(4, "--clean")  # nothing asks for the older training any more
    # A damaged best.json is no finding: it is made again, and what follows from it is there.
    (best,) = tmp_path.glob("runs/search/*/best.json")
    best.write_text(best.read_text().replace('"filters": 3', '"filters": 2'))
    assert run(4) == [0, 1, 0, 0, 0]


def test_a_notebook_after_a_search_is_opened_with_what_it_found(project: StubProject, tmp_path: Path) -> None:
    command = project.command(tmp_path, [], "--set", "search_trials=2", "--open", "stub_0", "train", "--editor", "none")
    said = _command(command)
    assert [_made(said, stage) for stage in ("trial", "search", "build", "train")] == [2, 1, 1, 0], said
    copy = json.loads((tmp_path / "open" / "stub_0" / "5_train.ipynb").read_text())
    assert any('builder_options = {"filters": 1}' in "".join(cell["source"]) for cell in copy["cells"])


def _command(command: list[str]) -> str:
    """What a command says that names its variant itself."""
    at = command.index("--variants")
    done = subprocess.run(
        [*command[:at], *command[at + 2 :]],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | LIGHT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
