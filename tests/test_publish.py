"""A step is made in a folder of its own and published in one move: what is stored, what is replaced, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bakeoff.executors import Task
from bakeoff.executors.local import LocalExecutor
from bakeoff.plan.machine import Machine
from bakeoff.plan.steps import STAGES, Plan, Step
from bakeoff.run.execute import Job, Made, execute
from bakeoff.run.runner import Runner
from bakeoff.store import MANIFEST, Store, digest_folder, exchange, host_name, staging, write_manifest
from tests.stubs import StubProject

KEY = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def _staged(store: Store, text: str) -> Path:
    folder = store.staging / text
    folder.mkdir(parents=True)
    (folder / "numbers.txt").write_text(text)
    write_manifest(folder, {"stage": "train", "result_key": KEY, "files": digest_folder(folder)})
    return folder


def _stored(store: Store) -> str:
    assert store.first_bad_file("train", KEY) is None
    return (store.folder("train", KEY) / "numbers.txt").read_text()


def test_the_first_of_two_that_made_a_step_counts(store: Store) -> None:
    assert store.publish(_staged(store, "first"), "train", KEY)
    assert not store.publish(_staged(store, "second"), "train", KEY)
    assert _stored(store) == "first" and not list(store.staging.iterdir())
    assert store.publish(_staged(store, "third"), "train", KEY, replace=True)
    assert _stored(store) == "third" and not list(store.staging.iterdir())


def test_what_is_no_whole_step_gives_way(store: Store) -> None:
    store.publish(_staged(store, "first"), "train", KEY)
    (store.folder("train", KEY) / MANIFEST).unlink()
    assert store.publish(_staged(store, "second"), "train", KEY)
    assert _stored(store) == "second"


def test_a_reader_always_finds_a_whole_step_while_it_is_replaced(store: Store) -> None:
    store.publish(_staged(store, "first"), "train", KEY)
    missing, over = [], threading.Event()

    def read() -> None:
        while not over.is_set():
            if not (store.folder("train", KEY) / MANIFEST).is_file():
                missing.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        store.publish(_staged(store, str(number)), "train", KEY, replace=True)
    over.set()
    reader.join()
    assert not missing


def test_folders_change_places_also_where_the_system_cannot_do_it_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    one, other = _staged(store, "one"), _staged(store, "other")
    aside = exchange(one, other)
    assert (other / "numbers.txt").read_text() == "one" and (aside / "numbers.txt").read_text() == "other"


def test_every_flipped_bit_of_a_manifest_is_found(store: Store) -> None:
    store.publish(_staged(store, "first"), "train", KEY)
    path = store.folder("train", KEY) / MANIFEST
    whole = path.read_bytes()
    assert store.read_manifest("train", KEY)
    for place in range(len(whole)):
        for bit in (0, 3, 5, 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert store.read_manifest("train", KEY) is None, (place, bit)


def test_a_run_clears_away_what_dead_runs_of_its_machine_have_left(store: Store) -> None:
    live, other = staging.Staging(store), store.staging / "other-host_12_00ff"
    live.open()
    dead = store.staging / f"{host_name()}_12_00ff"
    for folder in (dead, other):
        (folder / "train-1").mkdir(parents=True)
    second = staging.Staging(store)
    second.open()
    assert not dead.exists() and other.is_dir()
    assert staging.running(store) == sorted([live.folder, second.folder])
    live.close()
    second.close()
    assert list(store.staging.iterdir()) == [other]
    assert not list(staging.left_behind(store, everywhere=True))  # it may still be at work


def _job(tmp_path: Path, source: str) -> Job:
    cells = [nbformat.v4.new_code_cell("output = None", metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "stub.ipynb")
    root = tmp_path / 'runs "ä"'
    folder, published = root / ".staging" / "x_1_2" / "train-1", root / "train" / "key"
    return Job(
        "train",
        tmp_path / "stub.ipynb",
        folder,
        {"output": str(folder)},
        ("a.json",),
        {},
        "python3",
        60,
        None,
        published,
    )


SOURCE = """import json, os, pathlib
pathlib.Path(output, 'a.json').write_text(json.dumps({'place': os.getcwd()}))
print(output)"""


def test_no_stored_text_names_the_folder_that_it_was_made_in(tmp_path: Path) -> None:
    job = _job(tmp_path, SOURCE)
    made = execute(job)
    stored = {path.name: path.read_text() for path in job.folder.iterdir()}
    assert set(stored) == {"a.json", "notebook.ipynb"} == set(made.files)
    assert not any(".staging" in text for text in stored.values())
    assert json.loads(stored["a.json"]) == {"place": str(job.published)}
    assert made.files == digest_folder(job.folder)
    notebook = nbformat.reads(stored["notebook.ipynb"], as_version=4)
    names: dict[str, str] = {}
    exec(next(cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.tags), names)
    assert names["output"] == str(job.published)


KEPT = """import pathlib
path = pathlib.Path(output, 'a.json')
if not path.exists():
    path.write_text('{"made": "anew"}')"""


@pytest.mark.parametrize("damaged", [False, True])
def test_a_page_is_made_on_whole_results_only(tmp_path: Path, damaged: bool) -> None:
    job = _job(tmp_path, KEPT)
    assert job.published is not None
    job.published.mkdir(parents=True)
    (job.published / "a.json").write_text('{"made": "long ago"}')
    job = replace(job, kept=digest_folder(job.published))
    if damaged:
        (job.published / "a.json").write_text('{"made": "long agq"}')
    made = execute(job)
    assert made.page_only is not damaged
    assert json.loads((job.folder / "a.json").read_text()) == {"made": "anew" if damaged else "long ago"}


# Runs


@pytest.fixture
def place(stub_run: tuple[StubProject, Path], tmp_path: Path) -> tuple[StubProject, Path]:
    """A copy of a project and of its finished run."""
    project, folder = stub_run
    shutil.copytree(project.root, tmp_path / "project")
    shutil.copytree(folder, tmp_path / "place")
    return StubProject(tmp_path / "project"), tmp_path / "place"


def _texts(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".csv", ".ipynb", ".txt"):
            yield path, path.read_text(encoding="utf-8")


def test_a_run_leaves_steps_and_nothing_else(place: tuple[StubProject, Path]) -> None:
    _, folder = place
    assert not [path for path, text in _texts(folder) if ".staging" in text]
    left = [path for name in (".staging", "locks", "checkpoints") for path in (folder / "runs" / name).glob("*")]
    assert left == []
    for manifest in (folder / "runs").glob("*/*/step.json"):
        files = {path.name for path in manifest.parent.iterdir()} - {MANIFEST}
        assert files == set(json.loads(manifest.read_text())["files"])


def _edit(project: StubProject, stage: str, change: Callable[[list[dict[str, object]]], None]) -> None:
    path = project.root / "notebooks" / f"{stage}.ipynb"
    notebook = json.loads(path.read_text())
    change(notebook["cells"])
    path.write_text(json.dumps(notebook))


def test_a_page_that_is_made_anew_leaves_what_the_work_took_and_on_what(place: tuple[StubProject, Path]) -> None:
    project, folder = place
    trained = next((folder / "runs" / "train").glob(f"*/{MANIFEST}")).parent
    manifest = json.loads((trained / MANIFEST).read_text())
    machine = {**manifest["machine"], "cores": 64}
    long_ago = {"seconds": 3600.0, "machine": machine, "finished": "2020-01-01T00:00:00Z"}
    write_manifest(trained, {**manifest, **long_ago})
    _edit(project, "5_train", lambda cells: cells[0].update(source="# Another title"))
    code, said = project.run(folder, ["stub_0", "stub_1"], "--no-pdf")
    assert code == 0 and said.count("page: ") == 2, said
    after = json.loads((trained / MANIFEST).read_text())
    assert {name: after[name] for name in long_ago} == long_ago
    assert after["page"]["seconds"] < 3600 and after["page"]["machine"] == manifest["machine"]
    assert "# Another title" in (trained / "notebook.ipynb").read_text()


def test_a_damaged_step_stays_where_it_is_until_it_is_made_again(place: tuple[StubProject, Path]) -> None:
    """Whoever reads it meanwhile, in another run, loses nothing."""
    project, folder = place
    store = Store(folder / "runs")
    train, evaluate = ((folder / "runs" / stage) for stage in ("train", "evaluate"))
    damaged = sorted(train.glob("*/training.json"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b" ")
    _edit(project, "6_evaluate", lambda cells: cells[-1].update(source="import time\n" + "".join(cells[-1]["source"])))  # type: ignore[arg-type]
    process = project.start(folder, ["stub_0", "stub_1"], "--no-pdf")
    while process.poll() is None:
        assert damaged.is_file()
        time.sleep(0.005)
    said, _ = process.communicate()
    assert process.returncode == 0 and "reruns" in said, said
    for path in [*train.glob(f"*/{MANIFEST}"), *evaluate.glob(f"*/{MANIFEST}")]:
        assert store.first_bad_file(path.parent.parent.name, json.loads(path.read_text())["result_key"]) is None


class _AtOnce(LocalExecutor):
    """In place of a run's own: what it is given is made at once."""

    def submit(self, task: Task) -> Future[Made]:
        """Nothing is executed."""
        made: Future[Made] = Future()
        made.set_result(Made(0.0, {}, False))
        return made


def test_the_scheduler_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the code before, its own thread wrote step.json, waited until that was on the disk, and moved the folder."""
    store, machine = Store(tmp_path / "runs"), Machine("tensorflow", 2, {})
    nothing: dict[str, Any] = {"versions": {}, "code": {}, "settings": {}}
    steps = [Step(STAGES["load"], {}, {}, nothing, name, name, variants=[name]) for name in "ab"]
    plan = Plan([], steps, {step.name: "new" for step in steps}, machine, steps[0])
    threads: list[threading.Thread] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        threads.append(threading.current_thread())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with Runner(store, machine, tmp_path, lambda _: None, 2, cold_kernels=True) as runner:
        runner._executor = _AtOnce(1, runner._kernels)
        runner.run(plan)
        assert len(threads) == 2 and threading.main_thread() not in threads
    assert all(store.complete_manifest(*step.name) for step in steps) and not runner.failures
