"""What people see while steps run: a table that changes in place at a terminal, lines elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from bakeoff.params import load_parameters
from bakeoff.plan.machine import Machine
from bakeoff.plan.steps import STAGES, Plan, Row, Step
from bakeoff.run import progress
from bakeoff.store import Store
from tests import environment
from tests.stubs import LIGHT, StubProject


def _step(stage: str, parameters: dict[str, object]) -> Step:
    return Step(STAGES[stage], parameters, {}, {}, stage, stage, variants=["simple_cnn"])


@pytest.fixture
def lines(tmp_path: Path) -> progress.Lines:
    train = _step("train", {"epochs": 3})
    row = Row(load_parameters(("simple_cnn",), "smoke")[0], 0, 0, None, "none", {"train": train})  # type: ignore[arg-type]
    plan = Plan([row], [train], {train.name: "new"}, Machine("tensorflow", 2, {}), train)
    said: list[str] = []
    lines = progress.Lines(plan, Store(tmp_path), said.append)
    lines.said = said  # type: ignore[attr-defined]
    return lines


def _write_history(store: Store, step: Step, epochs: int) -> None:
    folder = store.checkpoint(*step.name)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{epoch},0.5,1.0,{0.6 + epoch / 100},1.0,3.0,0.001" for epoch in range(1, epochs + 1)]
    header = "epoch,train_accuracy,train_loss,validation_accuracy,validation_loss,seconds,learning_rate"
    (folder / "history.csv").write_text("\n".join([header, *rows]) + "\n")


def test_epoch_and_accuracy_are_read_from_the_rows_as_they_come(tmp_path: Path) -> None:
    store, train = Store(tmp_path), _step("train", {"epochs": 3})
    assert progress.how_far(train, store.checkpoint(*train.name)) == ""
    _write_history(store, train, 0)
    assert progress.how_far(train, store.checkpoint(*train.name)) == ""
    _write_history(store, train, 2)
    assert progress.how_far(train, store.checkpoint(*train.name)) == "epoch 2/3, 0.620"


def _history(folder: Path, *seconds: float, aged: float = 0.0) -> None:
    """A training's rows so far, the last one written `aged` seconds ago."""
    rows = [f"{epoch},{each}" for epoch, each in enumerate(seconds, start=1)]
    path = folder / "history.csv"
    path.write_text("\n".join(["epoch,seconds", *rows]) + "\n")
    os.utime(path, (time.time() - aged, time.time() - aged))


def test_seconds_left_follow_from_the_epochs_and_not_from_what_came_before_them(tmp_path: Path) -> None:
    """Features of a frozen base took minutes, the epochs a second each: "about 58 min left" was said."""
    train = _step("train", {"epochs": 11, "trainer": "features"})
    _history(tmp_path)
    assert progress.seconds_left(train, tmp_path) is None
    _history(tmp_path, 20.0)
    assert progress.seconds_left(train, tmp_path) is None  # compilation, perhaps
    _history(tmp_path, 20.0, 1.0, 1.0)
    assert progress.seconds_left(train, tmp_path) == pytest.approx(8, abs=0.5)
    _history(tmp_path, 20.0, 10.0, 10.0, aged=4)
    assert progress.seconds_left(train, tmp_path) == pytest.approx(76, abs=0.5)
    _history(tmp_path, 300.0)
    assert progress.seconds_left(train, tmp_path) == pytest.approx(3000, abs=0.5)  # no compilation takes that long
    _history(tmp_path, 7.0, 7.0, 20.0, 2.0)  # taken up again after two epochs, perhaps on a faster machine
    assert progress.seconds_left(train, tmp_path, before=2) == pytest.approx(14, abs=0.5)
    assert progress.seconds_left(train, tmp_path, before=4) is None


def test_epochs_of_a_frozen_base_tell_nothing_of_those_that_follow(tmp_path: Path) -> None:
    train = _step("train", {"epochs": 8, "trainer": "staged", "trainer_options": {"head_epochs": 3}})
    _history(tmp_path, 9.0, 1.0, 1.0)
    assert progress.seconds_left(train, tmp_path) is None
    _history(tmp_path, 9.0, 1.0, 1.0, 20.0, 10.0)
    assert progress.seconds_left(train, tmp_path) == pytest.approx(30, abs=0.5)


def test_lines_tell_of_a_long_step_now_and_then(lines: progress.Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_LINE_SHARE", 0.0)
    (step,) = lines.plan.steps
    lines.started(step, "new")
    _write_history(lines.store, step, 1)
    lines.tick([step], (70, False))
    lines.tick([step], (70, False))  # nothing new: no line
    _write_history(lines.store, step, 2)
    lines.tick([step], None)
    _write_history(lines.store, step, 3)
    lines.tick([step], (60, True))
    lines.finished(step, 12.34)
    lines.tick([], None)
    assert lines.said == [  # type: ignore[attr-defined]
        "[1/1] train simple_cnn (new)",
        "    train simple_cnn: epoch 1/3, 0.610",
        "0 of 1 steps, 0 s, about 1:10 left",
        "0 of 1 steps, 0 s, about 1:10 left",
        "    train simple_cnn: epoch 2/3, 0.620",
        "    train simple_cnn: epoch 3/3, 0.630",
        "0 of 1 steps, 0 s, less than 1:00 left",
        "    train simple_cnn: 12.3 s",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (200, "3:20"), (3900, "1:05:00")])
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert progress.clock(seconds) == text


def test_at_a_terminal_a_table_shows_stages_and_what_they_took(
    stub_run: tuple[StubProject, Path], tmp_path: Path
) -> None:
    project, _ = stub_run
    shown = _at_a_terminal(project.command(tmp_path, ["stub_0", "stub_1"], "--no-pdf"))
    for text in ("variant", "preprocess", "stub_0", "of 11 steps", "Report written"):
        assert text in shown, text
    assert re.search(r"stub_1.*\d+ s", shown)


def _at_a_terminal(command: list[str]) -> str:
    """What a command writes to a terminal of 40 lines, without the codes that move the cursor and colour."""
    leader, follower = pty.openpty()
    terminal = environment.at_start() | LIGHT | {"TERM": "xterm-256color", "LINES": "40", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=terminal)
    os.close(follower)
    written, deadline = b"", time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                written += os.read(leader, 65536)
            except OSError:
                break
        elif process.poll() is not None:
            break
    os.close(leader)
    assert process.wait(60) == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode(errors="replace"))
