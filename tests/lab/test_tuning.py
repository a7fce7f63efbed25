from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bakeoff.lab import models, tuning
from bakeoff.lab.search_space import corners, grid_points, list_values
from bakeoff.lab.tuning import Search

BUILDER_OPTIONS = {"filters": 2, "kernel_size": 2, "padding": "valid", "dense_units": 4, "pool_size": 4}
DEFAULTS: dict[str, Any] = {
    "search": "grid",
    "search_epochs": 1,
    "search_trials": 0,
    "builder": "conv_pool_network",
    "builder_options": BUILDER_OPTIONS,
    "weights": "none",
    "image_size": 0,
    "loss": "sparse_categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "optimizer_options": {},
    "batch_size": 32,
    "seed": 0,
    "precision": "float32",
    "jit_compile": False,
    "max_training_tflop": None,
}


def run(made: Any, folder: Path, space: dict[str, Any], **changes: Any) -> Search:
    return tuning.search(made.prepared, folder, **DEFAULTS | {"search_space": space} | changes)


def test_a_range_and_a_list_give_their_values() -> None:
    assert list_values("filters", {"min": 32, "max": 128, "step": 16}) == [32, 48, 64, 80, 96, 112, 128]
    assert list_values("rate", {"min": 0.1, "max": 0.4, "step": 0.1}) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert list_values("kernel", [3, 5]) == [3, 5]


@pytest.mark.parametrize("entry", [[], 3, {"min": 1, "max": 2}, {"min": 2, "max": 1, "step": 1}, [[1], [2]]])
def test_a_space_that_cannot_be_read_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match="search_space filters is"):
        list_values("filters", entry)


def test_points_of_a_grid_are_spread_over_all_values() -> None:
    space = {"units": [16, 32, 64], "optimizer": ["adam", "sgd", "rmsprop"], "pool": [2, 4]}
    assert len(grid_points(space, 99, 0)) == 18
    for seed in range(10):
        for count in (3, 6, 11):
            points = grid_points(space, count, seed)
            assert len({tuple(point.values()) for point in points}) == count
            for name, values in space.items():
                counts = Counter(point[name] for point in points)
                assert set(counts) == set(values) and max(counts.values()) - min(counts.values()) <= 2
    assert grid_points(space, 6, 1) == grid_points(space, 6, 1) != grid_points(space, 6, 2)


def test_corners_leave_out_what_is_no_option_of_the_network() -> None:
    assert corners({"units": [16, 32, 64], "optimizer": ["sgd", "adam"]}) == [{"units": 16}, {"units": 64}]
    assert corners({"optimizer": ["sgd", "adam"]}) == [{}]


def test_a_grid_scores_every_point_on_validation_and_test(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="test")
    result = run(made, tmp_path, {"dense_units": [4, 8], "optimizer": ["adam", "sgd"]})
    assert list(result.trials.columns) == ["trial", "dense_units", "optimizer", *tuning.SCORES]
    assert result.trials["trial"].tolist() == [1, 2, 3, 4]
    assert result.trials[["validation_accuracy", "test_accuracy", "train_accuracy"]].notna().all(axis=None)
    best, row = result.best, result.trials.loc[result.trials["validation_accuracy"].idxmax()]
    assert best["values"] == {"dense_units": row["dense_units"], "optimizer": row["optimizer"]}
    assert best["builder_options"] == BUILDER_OPTIONS | {"dense_units": row["dense_units"]}
    assert (best["points_total"], best["points_run"]) == (4, 4)
    assert (best["train_images"], best["validation_images"]) == (80, 20)  # the last fifth, never the test set
    assert best["optimizer_steps"] == 3
    assert len(list((tmp_path / "hparams").glob("*/events*"))) == 4
    assert models.searched_options({}, {"search": str(tmp_path)}) == best["builder_options"]


def test_an_optimizer_that_is_searched_brings_the_rate_keras_gives_it(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages()
    options = {"optimizer_options": {"beta_1": 0.8}}
    assert run(made, tmp_path / "a", {"optimizer": ["sgd"]}, **options).best["training"] == {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "optimizer_options": {},
    }
    assert run(made, tmp_path / "b", {"learning_rate": [0.05]}, **options).best["training"] == {
        "optimizer": "adam",
        "learning_rate": 0.05,
        "optimizer_options": {"beta_1": 0.8},
    }


def test_a_broken_search_goes_on_where_it_stopped(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    space = {"dense_units": [4, 8]}
    whole = run(made, tmp_path / "whole", space).trials
    first = whole.iloc[:1].assign(seconds=123.0)
    (tmp_path / "broken").mkdir()
    first.to_csv(tmp_path / "broken" / "trials.csv", index=False)
    result = run(made, tmp_path / "broken", space).trials
    assert result["seconds"].iloc[0] == 123.0 and len(result) == 2
    pd.testing.assert_frame_equal(result.drop(columns="seconds"), whole.drop(columns="seconds"))


def test_a_finished_search_is_opened_not_repeated(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    first = run(made, tmp_path, {"dense_units": [4]})
    again = run(made, tmp_path, {"dense_units": [4, 8, 16]})
    assert again.best == first.best and len(again.trials) == 1


def test_keras_tuner_draws_the_trials_and_keeps_its_books(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="none")
    space = {"dense_units": {"min": 4, "max": 16, "step": 4}, "learning_rate": [0.01, 0.001]}
    result = run(made, tmp_path, space, search="tuner", search_trials=3)
    assert len(result.trials) == 3 and result.trials["test_accuracy"].isna().all()
    assert len(result.trials[["dense_units", "learning_rate"]].drop_duplicates()) == 3
    assert (result.best["train_images"], result.best["validation_images"]) == (90, 10)
    assert result.best["points_total"] == 8
    assert (tmp_path / "tuner" / "oracle.json").is_file()
    random.seed(7)  # what the process drew before must not matter
    again = run(made, tmp_path / "again", space, search="tuner", search_trials=3)
    pd.testing.assert_frame_equal(again.trials.drop(columns="seconds"), result.trials.drop(columns="seconds"))


@pytest.mark.parametrize("cut", ["tuner/oracle.json", "tuner/trial_0/trial.json", "tuner/tuner0.json", "trials.csv"])
def test_a_tuner_s_search_goes_on_whatever_file_was_cut_short(
    stages: Callable[..., Any], tmp_path: Path, cut: str
) -> None:
    made, space = stages(validation="none"), {"dense_units": [4, 8]}
    whole = run(made, tmp_path, space, search="tuner", search_trials=2)
    first = whole.trials.iloc[:1].assign(seconds=123.0)
    first.to_csv(tmp_path / "trials.csv", index=False)
    (tmp_path / "best.json").unlink()
    (tmp_path / cut).write_text("")
    again = run(made, tmp_path, space, search="tuner", search_trials=2)
    assert again.best == whole.best
    assert (again.trials["seconds"].iloc[0] == 123.0) == (cut != "trials.csv")
    pd.testing.assert_frame_equal(again.trials.drop(columns="seconds"), whole.trials.drop(columns="seconds"))


def test_the_tuner_uses_the_variants_own_validation_images(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="split", validation_split=0.3)
    best = run(made, tmp_path, {"dense_units": [4]}, search="tuner", search_trials=5).best
    assert (best["train_images"], best["validation_images"], best["points_run"]) == (70, 30, 1)


def test_a_network_that_cannot_be_built_stops_the_search_with_its_own_sentence(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="unknown option of conv_pool_network 'dense_unitz'"):
        run(stages(), tmp_path, {"dense_unitz": [4]}, search="tuner")
    with pytest.raises(ValueError, match="search_space is empty"):
        run(stages(), tmp_path, {})


def test_half_of_the_budget_is_shared_by_the_trials(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="test")
    network = models.build("conv_pool_network", made.prepared.input_shape, 10, options=BUILDER_OPTIONS)
    gflop = models.forward_gflop(network)
    budget = 2 * 2 * gflop * (3 + 0.25) * 40 / 1000 * 1.001  # two trials of one epoch with 40 + 10 images
    result = run(made, tmp_path, {"learning_rate": [0.01, 0.001]}, max_training_tflop=budget)
    assert (result.best["train_images"], result.best["validation_images"]) == (40, 10)
    assert result.best["test_images"] == 10  # of 20, as many in proportion
