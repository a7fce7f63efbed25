"""A training cut short goes on after its last finished epoch and ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import resume
from bakeoff.lab.fitting import HistoryFile
from tests.lab.test_speedrun import ARGUMENTS
from tests.lab.test_training import SMALL, build, train, two_part_network, weights_of

SPEEDRUN: dict[str, Any] = {**ARGUMENTS, "trainer_options": {"blend_steps": 2, "whitening_bias_epochs": 2}}
STAGED: dict[str, Any] = {"trainer": "staged", "trainer_options": {"head_epochs": 2}}
PLAIN: dict[str, Any] = {"augmentation": {"rotation_degrees": 10, "horizontal_flip": True}}


class CutError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def cut_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function: trainings break before the epoch given; 99 lets them run."""
    monkeypatch.setattr(resume, "_SECONDS", 0.0)
    begin, last = HistoryFile.on_epoch_begin, [99]

    def breaking(self: HistoryFile, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if epoch >= last[0]:
            raise CutError
        begin(self, epoch, logs)

    monkeypatch.setattr(HistoryFile, "on_epoch_begin", breaking)
    return lambda epoch: last.__setitem__(0, epoch)


@pytest.mark.parametrize(
    ("recipe", "cuts"),
    [(PLAIN, (1, 3)), (SPEEDRUN, (1, 3)), (STAGED, (1, 3)), (STAGED, (2,))],
    ids=["fit", "speedrun", "staged, in both stages", "staged, between them"],
)
def test_what_was_cut_short_ends_with_the_same_bits(
    stages: Callable[..., Any],
    tmp_path: Path,
    cut_before: Callable[[int], None],
    recipe: dict[str, Any],
    cuts: tuple[int, ...],
) -> None:
    made = stages(train=100)

    def network(name: str) -> keras.Model:
        keras.utils.set_random_seed(1)
        if recipe is STAGED:
            return two_part_network(made)
        if recipe is SPEEDRUN:
            return build(tmp_path / name, made.prepared, "speedrun_cnn", widths=[4, 4, 4])
        return build(tmp_path / name, made.prepared, **SMALL | {"dropout": 0.3})

    def results(model: keras.Model, name: str) -> tuple[list[np.ndarray], pd.DataFrame]:
        history = train(model, made, tmp_path / name, **{**recipe, "epochs": 4}).history
        return weights_of(model), history.drop(columns="seconds")

    undisturbed, whole = results(network("whole"), "whole")
    for epoch in cuts:
        cut_before(epoch)
        with pytest.raises(CutError):
            results(network("cut"), "cut")
        assert (tmp_path / "cut" / "train" / resume.STATE).is_file()
    cut_before(99)
    resumed, history = results(network("cut"), "cut")
    pd.testing.assert_frame_equal(history, whole)
    for one, other in zip(undisturbed, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (tmp_path / "cut" / "train" / resume.STATE).exists()


def test_finished_epochs_are_not_trained_again(
    stages: Callable[..., Any], tmp_path: Path, cut_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stages()
    cut_before(2)
    with pytest.raises(CutError):
        train(build(tmp_path, made.prepared), made, tmp_path, epochs=3)
    cut_before(99)
    trained: list[int] = []
    end = HistoryFile.on_epoch_end

    def noting(self: HistoryFile, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        trained.append(epoch)
        end(self, epoch, logs)

    monkeypatch.setattr(HistoryFile, "on_epoch_end", noting)
    result = train(build(tmp_path, made.prepared), made, tmp_path, epochs=3)
    assert trained == [2] and result.history["epoch"].tolist() == [1, 2, 3]
    assert result.summary["train_seconds"] > result.history["seconds"].iloc[:2].sum()


def test_a_damaged_state_counts_as_none(
    stages: Callable[..., Any], tmp_path: Path, cut_before: Callable[[int], None]
) -> None:
    made = stages()
    undisturbed = build(tmp_path / "whole", made.prepared)
    train(undisturbed, made, tmp_path / "whole", epochs=2)
    cut_before(1)
    with pytest.raises(CutError):
        train(build(tmp_path, made.prepared), made, tmp_path)
    state = tmp_path / "train" / resume.STATE
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    cut_before(99)
    model = build(tmp_path, made.prepared)
    train(model, made, tmp_path)
    for one, other in zip(weights_of(undisturbed), weights_of(model), strict=True):
        np.testing.assert_array_equal(one, other)
