"""A task on a machine that sees no folder of the command's: contents go there and come back, digests are checked."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bakeoff.errors import DamagedInputError, StepError
from bakeoff.executors import Task
from bakeoff.executors.remote import LostError
from bakeoff.executors.transfer import Outcome, Parcel, Sender, execute_apart, own_store, receive
from tests.executors.test_remote import ALIKE, PARENT, make_task

TRAIN = """import time
from pathlib import Path
folder = Path(inputs['checkpoint'])
before = folder.joinpath('state.txt').read_text() if folder.is_dir() else ''
folder.mkdir(parents=True, exist_ok=True)
(folder / 'state.txt').write_text(before + 'epoch ')
time.sleep(2 if before == '' else 0)
Path(output, 'out.txt').write_text(Path(inputs['load'], 'in.txt').read_text() + before + output)"""


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The other machine's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="apart-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def _send(task: Task) -> dict[str, Parcel]:
    """What arrives: objects of Ray are pickled, with their arrays beside them."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(Sender(lambda parcel: parcel).parcels(task), 5, buffer_callback=buffers.append)
    found: dict[str, Parcel] = pickle.loads(text, buffers=[bytes(each) for each in buffers])
    return found


def _execute(task: Task, parcels: dict[str, Parcel], group: str) -> Iterator[Parcel | Outcome]:
    """While a task is executed, the command's store is away."""
    away = task.store.root.with_name("away")
    task.store.root.rename(away)
    for each in execute_apart(task, parcels, ALIKE, True, group):
        away.rename(task.store.root)
        yield each
        task.store.root.rename(away)
    away.rename(task.store.root)


def test_what_is_read_goes_there_and_what_is_made_and_gone_on_from_comes_back(tmp_path: Path, apart: Path) -> None:
    task = make_task(tmp_path, TRAIN)
    kept, outcome = list(_execute(task, _send(task), "first"))
    assert receive(task, kept) is None
    checkpoint = Path(task.job.parameters["inputs"]["checkpoint"])
    assert (checkpoint / "state.txt").read_text() == "epoch "
    made = receive(task, outcome)
    assert made and made.folder and made.folder.parent == task.job.folder and "cores" in made.machine
    assert (made.folder / "out.txt").read_text() == f"word {task.job.published}"
    assert str(apart) not in (made.folder / "notebook.ipynb").read_text()
    assert not list((own_store("first") / ".staging").iterdir())
    again = [receive(task, each) for each in _execute(task, _send(task), "second")][-1]  # on another machine
    assert again and again.folder and (again.folder / "out.txt").read_text() == f"word epoch {task.job.published}"


def test_a_failed_notebook_comes_back_with_the_error(tmp_path: Path, apart: Path) -> None:
    task = make_task(tmp_path, "raise ValueError(f'no {output}')")
    (outcome,) = _execute(task, _send(task), "failing")
    with pytest.raises(StepError, match="code cell 3: no "):
        receive(task, outcome)
    assert task.job.failed and str(apart) not in task.job.failed.read_text()


def _with_another_byte(parcel: Parcel) -> Parcel:
    name = next(name for name, content in parcel.files.items() if content.size)
    content = np.array(parcel.files[name])
    content[0] ^= 1
    return replace(parcel, files={**parcel.files, name: content})


def test_bytes_that_change_on_the_way_are_found_on_either_side(tmp_path: Path, apart: Path) -> None:
    task = make_task(tmp_path)
    parcels = _send(task)
    damaged = {place: _with_another_byte(parcel) for place, parcel in parcels.items()}
    (outcome,) = execute_apart(task, damaged, ALIKE, True, "damaged")
    with pytest.raises(LostError, match="arrived with other bytes"):
        receive(task, outcome)
    *_, outcome = execute_apart(task, parcels, ALIKE, True, "whole")
    assert isinstance(outcome, Outcome) and outcome.made
    with pytest.raises(LostError, match="arrived with other bytes"):
        receive(task, replace(outcome, parcel=_with_another_byte(outcome.parcel)))
    fewer = {
        "files": {"out.txt": outcome.parcel.files["out.txt"]},
        "digests": {"out.txt": outcome.made.files["out.txt"][0]},
    }
    with pytest.raises(LostError, match="not those that were made"):
        receive(task, replace(outcome, parcel=Parcel(**fewer)))


def test_a_parent_that_is_not_as_recorded_is_never_sent(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    (task.store.folder(*PARENT) / "in.txt").write_text("sword")
    with pytest.raises(DamagedInputError, match=r"load has a damaged file \(in.txt\)"):
        _send(task)
