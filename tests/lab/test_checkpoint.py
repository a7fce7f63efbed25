"""A training that was cut short goes on after its last finished epoch and ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bakeoff.lab.training import History, checkpoint
from tests.lab.test_airbench import ARGUMENTS
from tests.lab.test_training import SMALL, Trained, train, two_part_network, weights_of

FIT: dict[str, Any] = {
    "trainer": "fit",
    "builder_options": SMALL | {"dropout": 0.3},
    "augmentation": {"rotation_degrees": 10, "horizontal_flip": True},
}
MIXED: dict[str, Any] = {"trainer": "fit", "builder_options": SMALL, "precision": "mixed_float16"}
AIRBENCH: dict[str, Any] = {**ARGUMENTS, "trainer_options": {"lookahead_steps": 2, "whitening_bias_epochs": 2}}
FINE_TUNE: dict[str, Any] = {"trainer": "fine_tune", "network": two_part_network, "trainer_options": {"head_epochs": 2}}


class CutError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def cut_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function: trainings break before the epoch given; 99 lets them run."""
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)
    begin, last = History.on_epoch_begin, [99]

    def breaking(self: History, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if epoch >= last[0]:
            raise CutError
        begin(self, epoch, logs)

    monkeypatch.setattr(History, "on_epoch_begin", breaking)
    return lambda epoch: last.__setitem__(0, epoch)


@pytest.mark.parametrize(
    ("recipe", "cuts"),
    [(FIT, (1, 3)), (MIXED, (2,)), (AIRBENCH, (1, 3)), (FINE_TUNE, (1, 3)), (FINE_TUNE, (2,))],
    ids=["fit", "a scaled loss", "airbench", "fine-tuning, in both phases", "fine-tuning, between them"],
)
def test_what_was_cut_short_ends_with_the_same_bits(
    stages: Callable[..., Any],
    tmp_path: Path,
    cut_before: Callable[[int], None],
    recipe: dict[str, Any],
    cuts: tuple[int, ...],
) -> None:
    made = stages(train=100)

    def results(name: str) -> Trained:
        return train(made, tmp_path / name, **{**recipe, "epochs": 4})

    whole = results("whole")
    for epoch in cuts:
        cut_before(epoch)
        with pytest.raises(CutError):
            results("cut")
        assert (tmp_path / "cut" / "checkpoint" / checkpoint.STATE).is_file()
        assert not (tmp_path / "cut" / "train" / "training.json").exists()
    cut_before(99)
    resumed = results("cut")
    pd.testing.assert_frame_equal(resumed.history.drop(columns="seconds"), whole.history.drop(columns="seconds"))
    for one, other in zip(weights_of(whole.model), weights_of(resumed.model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_finished_epochs_are_not_trained_again(
    stages: Callable[..., Any], tmp_path: Path, cut_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stages()
    cut_before(2)
    with pytest.raises(CutError):
        train(made, tmp_path, epochs=3)
    cut_before(99)
    trained: list[int] = []
    end = History.on_epoch_end

    def noting(self: History, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        trained.append(epoch)
        end(self, epoch, logs)

    monkeypatch.setattr(History, "on_epoch_end", noting)
    result = train(made, tmp_path, epochs=3)
    assert trained == [2] and result.history["epoch"].tolist() == [1, 2, 3]
    assert result.summary["train_seconds"] > result.history["seconds"].iloc[:2].sum()


def test_a_damaged_state_counts_as_none(
    stages: Callable[..., Any], tmp_path: Path, cut_before: Callable[[int], None]
) -> None:
    made = stages()
    undisturbed = train(made, tmp_path / "whole", epochs=2)
    cut_before(1)
    with pytest.raises(CutError):
        train(made, tmp_path)
    state = tmp_path / "checkpoint" / checkpoint.STATE
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    cut_before(99)
    again = train(made, tmp_path)
    for one, other in zip(weights_of(undisturbed.model), weights_of(again.model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_state_of_another_optimizer_is_refused(
    stages: Callable[..., Any], tmp_path: Path, cut_before: Callable[[int], None]
) -> None:
    """On the code before, what was left over of the state was passed over in silence."""
    made = stages(train=40)
    cut_before(1)
    with pytest.raises(CutError):
        train(made, tmp_path, **FIT, epochs=2)
    cut_before(99)
    with pytest.raises(ValueError, match="was saved by another network or optimizer"):
        train(made, tmp_path, **FIT, epochs=2, optimizer="sgd")
