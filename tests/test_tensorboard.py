"""TensorBoard over a store: the curves of trainings that are finished, and of one that goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.util.tensor_util import make_ndarray

from bakeoff.store import Store
from bakeoff.store.last_made import LastMade
from bakeoff.tracking.tensorboard import Logs
from tests.stubs import commit

HEAD = "epoch,train_accuracy,train_loss,validation_accuracy,validation_loss,seconds,learning_rate\n"
ROWS = ("1,0.25,2.5,0.5,2.0,1.5,0.001\n", "2,0.5,nan,,,1.5,0.001\n", "3,0.75,1.0,0.5,1.5,1.5,0.001\n")
KEYS = ("a" * 64, "b" * 64)


def _history(folder: Path, epochs: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.csv").write_text(HEAD + "".join(ROWS[:epochs]))
    return folder


def _read(logs: Logs) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Run -> tag -> (epoch, value), as TensorBoard itself reads them."""
    events = EventMultiplexer().AddRunsFromDirectory(str(logs.folder)).Reload()
    return {
        run: {
            tag: [(each.step, float(make_ndarray(each.tensor_proto))) for each in events.Tensors(run, tag)]
            for tag in kinds["tensors"]
        }
        for run, kinds in events.Runs().items()
    }


def test_curves_follow_a_training_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_tensorflow = "tensorboard.compat.notf"  # with this module, TensorBoard does not look for TensorFlow
    monkeypatch.setitem(sys.modules, without_tensorflow, ModuleType(without_tensorflow))
    store = Store(tmp_path / "runs")
    _history(store.folder("train", KEYS[0]), 3)
    commit(store, "train", KEYS[0], {"parameters": {"builder": "dense", "seed": 4}})
    made = LastMade(store.root)
    made.add(["ann"], "train", KEYS[0])
    made.close()
    running = _history(store.checkpoint("train", KEYS[1]), 1)
    logs = Logs(store, tmp_path / "logs")
    assert logs.update() == ["ann/seed-4-aaaaaaaa", "running/bbbbbbbb"]
    found = _read(logs)
    assert found["ann/seed-4-aaaaaaaa/train"]["epoch_accuracy"] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert found["ann/seed-4-aaaaaaaa/validation"]["epoch_loss"] == [(1, 2.0), (3, 1.5)]
    assert found["running/bbbbbbbb/train"]["epoch_accuracy"] == [(1, 0.25)]

    _history(running, 3)
    logs.update()
    assert _read(logs)["running/bbbbbbbb/train"]["epoch_accuracy"] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    _history(running, 2)
    logs.update()
    assert len(_read(logs)["running/bbbbbbbb/train"]["epoch_accuracy"]) == 2, "it was begun anew"
    store.discard(running)
    _history(store.folder("train", KEYS[1]), 3)
    commit(store, "train", KEYS[1], {"parameters": {"builder": "./net.py:build", "seed": 0}})
    assert logs.update()[-1] == "._net.py:build/seed-0-bbbbbbbb"
    assert not [run for run in _read(logs) if run.startswith("running")]


def test_a_store_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bakeoff.tracking.tensorboard", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "there is no such folder" in done.stderr
