from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from bakeoff.lab import models
from bakeoff.lab.files import read_json
from bakeoff.lab.plots import search as figures
from bakeoff.lab.search import PROBLEM, SCORES, Search, held_out, open_search, random_points
from bakeoff.lab.search.space import cells, costliest, grid_points, list_values
from tests.lab.cells import run_cells

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


def run(made: Any, folder: Path, space: dict[str, Any], edit: Any = lambda source: source, **changes: Any) -> Search:
    """What the notebooks' own cells find by hand: the points are drawn, and the search runs its trials itself."""
    given = DEFAULTS | {"search_space": space, "inputs": made.inputs, "output": str(folder)} | changes
    draw(folder, given)
    given["inputs"] = given["inputs"] | {"draw": str(folder / "draw")}
    return run_cells("3_search", given, edit)["result"]


def run_as_steps(
    made: Any, folder: Path, space: dict[str, Any], edit: Any = lambda source: source, **changes: Any
) -> Search:
    """What they find as steps of the pipeline: each trial in a notebook of its own, and the search reads them."""
    given = DEFAULTS | {"search_space": space, "inputs": made.inputs, "output": str(folder)} | changes
    inputs = given["inputs"] | {"draw": str(folder / "draw")}
    drawn = draw(folder, given)
    for number, point in enumerate(drawn["points"], start=1):
        own = folder / f"trial-{number}"
        own.mkdir(parents=True, exist_ok=True)
        there = {"values": point, "images": drawn["images"], "output": str(own)}
        run_cells("3_trial", given | there | {"inputs": made.inputs | {"checkpoint": "unused"}}, edit)
        inputs[own.name] = str(own)
    return run_cells("3_search", given | {"inputs": inputs}, no_trial)["result"]


def draw(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    (folder / "draw").mkdir(parents=True, exist_ok=True)
    run_cells("3_draw", given | {"output": str(folder / "draw")})
    return read_json(folder / "draw" / "points.json")


def _is_made(path: Path) -> bool:
    return path.is_file() and path.parent.name != "draw"


def no_trial(source: str) -> str:
    return source.replace("model = build(values)", "raise SystemExit('a trial was run')")


def test_a_range_and_a_list_give_their_values() -> None:
    assert list_values("filters", {"min": 32, "max": 128, "step": 16}) == [32, 48, 64, 80, 96, 112, 128]
    assert list_values("rate", {"min": 0.1, "max": 0.4, "step": 0.1}) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert list_values("kernel", [3, 5]) == [3, 5]
    mixed = list_values("dropout", [0, 0.25, True, "same"])
    assert mixed == [0.0, 0.25, True, "same"] and [type(each) for each in mixed] == [float, float, bool, str]
    assert list_values("filters", [[16, 32], (32, 64)]) == [[16, 32], [32, 64]]


def test_values_of_one_kind_stay_as_they_are_in_tables_and_others_are_text() -> None:
    assert cells([0.0, 0.5]) == [0.0, 0.5] and cells(["a", "b"]) == ["a", "b"] and cells([True, False]) == [True, False]
    assert cells([[16, 32], [32]]) == ["[16, 32]", "[32]"] and cells([2, "same"]) == ["2", '"same"']


@pytest.mark.parametrize("entry", [[], 3, {"min": 1, "max": 2}, {"min": 2, "max": 1, "step": 1}, [[], [2]]])
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


@pytest.mark.parametrize("options", [2, 9])  # few enough points for all to be looked at, and too many
def test_the_costliest_network_has_the_largest_value_of_every_option(options: int) -> None:
    space: dict[str, list[Any]] = {f"option_{number}": [2, 5, 3] for number in range(options)}
    space |= {"layers": [[1, 9], [8]], "optimizer": ["sgd", "adam"]}

    def cost(point: dict[str, Any]) -> float:
        assert "optimizer" not in point
        return math.prod(point[f"option_{number}"] for number in range(options)) * sum(point["layers"])

    assert costliest(space, cost) == 5**options * 10
    assert costliest({"optimizer": ["sgd", "adam"]}, lambda point: 7.0) == 7.0
    assert costliest(space, lambda point: 0.0 if point["layers"] == [8] else cost(point)) == 5**options * 10


def test_a_grid_scores_every_point_on_validation_and_test(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="test")
    result = run(made, tmp_path, {"dense_units": [4, 8], "optimizer": ["adam", "sgd"]})
    assert list(result.trials.columns) == ["trial", "dense_units", "optimizer", *SCORES, PROBLEM]
    assert result.trials["trial"].tolist() == [1, 2, 3, 4]
    assert result.trials[["validation_accuracy", "test_accuracy", "train_accuracy"]].notna().all(axis=None)
    best, row = result.best, result.trials.loc[result.trials["validation_accuracy"].idxmax()]
    assert best["values"] == {"dense_units": row["dense_units"], "optimizer": row["optimizer"]}
    assert best["builder_options"] == BUILDER_OPTIONS | {"dense_units": row["dense_units"]}
    assert (best["points_total"], best["points_run"]) == (4, 4)
    assert (best["train_images"], best["validation_images"]) == (80, 20)  # the last fifth, never the test set
    assert best["optimizer_steps"] == 3
    logged = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "hparams")).Reload()  # as TensorBoard reads them
    assert len(logged.Runs()) == 4
    logs = [logged.GetAccumulator(f"{trial:03d}").Tensors("validation_accuracy")[0] for trial in (1, 2, 3, 4)]
    assert [make_ndarray(log.tensor_proto) for log in logs] == pytest.approx(result.trials["validation_accuracy"])
    content = logged.SummaryMetadata("003", "_hparams_/session_start_info").plugin_data.content
    assert HParamsPluginData.FromString(content).session_start_info.hparams["dense_units"].number_value == 8


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


@pytest.mark.parametrize("search", ["tuner", "grid"])
def test_trials_that_are_steps_give_the_same_search(stages: Callable[..., Any], tmp_path: Path, search: str) -> None:
    made, space = stages(), {"dense_units": [4, 8], "learning_rate": [0.01, 0.001]}
    asked: dict[str, Any] = {"search": search, "search_trials": 3, "max_training_tflop": 1e-5}
    by_hand = run(made, tmp_path / "hand", space, **asked)
    result = run_as_steps(made, tmp_path / "steps", space, **asked)
    assert result.best == by_hand.best and result.best["train_images"] < 80
    pd.testing.assert_frame_equal(result.trials.drop(columns="seconds"), by_hand.trials.drop(columns="seconds"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if _is_made(path)}
    again = run_as_steps(made, tmp_path / "steps", space, no_trial, **asked)  # for its page alone
    assert again.best == result.best
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pd.testing.assert_frame_equal(again.trials, result.trials)


def test_a_longer_random_search_draws_the_same_points_and_more() -> None:
    space = {"units": list(range(4, 20)), "rate": [0.1, 0.01, 0.001]}
    drawn = random_points(space, 8, 0)
    assert random_points(space, 5, 0) == drawn[:5] and len({tuple(each.values()) for each in drawn}) == 8
    assert random_points(space, 5, 1) != drawn[:5]


def test_by_hand_a_search_begins_anew(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    for optimizer in ("sgd", "adam"):
        by_hand = {"inputs": made.inputs, "output": str(tmp_path / "hand"), "optimizer": optimizer}
        result = run(made, tmp_path, {"dense_units": [4]}, **by_hand)
        assert result.best["training"]["optimizer"] == optimizer
        found = result.trials.drop(columns="seconds")
        alone = run(made, tmp_path / optimizer, {"dense_units": [4]}, optimizer=optimizer).trials
        pd.testing.assert_frame_equal(found, alone.drop(columns="seconds"))
    assert len(list((tmp_path / "hand" / "hparams").glob("*/events*"))) == 1


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


def test_the_tuner_uses_the_variants_own_validation_images(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="split", validation_split=0.3)
    best = run(made, tmp_path, {"dense_units": [4]}, search="tuner", search_trials=5).best
    assert (best["train_images"], best["validation_images"], best["points_run"]) == (70, 30, 1)


def test_a_search_of_which_every_trial_fails_ends_with_the_sentence_of_the_first(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    sentence = r"every trial of the search failed; the first, with dense_unitz .: unknown option"
    with pytest.raises(ValueError, match=sentence):
        run(stages(), tmp_path, {"dense_unitz": [4, 5, 6, 7]}, search="tuner", search_trials=4)
    diverging = {"dense_units": [4, 8], "learning_rate": [1e30]}
    with pytest.raises(ValueError, match=r"learning_rate 1e\+30: diverged at epoch 1"):
        run(stages(), tmp_path / "nan", diverging, optimizer="sgd", batch_size=8)
    with pytest.raises(ValueError, match="search_space is empty"):
        run(stages(), tmp_path, {})


@pytest.mark.parametrize("search", ["tuner", "grid"])
def test_a_point_that_fails_is_recorded_and_the_others_run(
    stages: Callable[..., Any], tmp_path: Path, search: str
) -> None:
    made, space = stages(), {"pool_size": [50, 4, 40], "dense_units": [4, 8]}
    asked: dict[str, Any] = {"search": search, "search_trials": 6, "max_training_tflop": 1.0}
    result = run(made, tmp_path, space, **asked)
    assert len(result.trials) == 6 and len(result.scored) == 2 and result.best["points_failed"] == 4
    failed = result.trials[result.trials["validation_accuracy"].isna()]
    assert failed["pool_size"].isin([40, 50]).all() and failed["problem"].str.contains("too small").all()
    assert result.best["values"]["pool_size"] == 4 and result.scored["problem"].isna().all()
    table = figures.trials(result)
    assert table["failed"].str.contains("too small").sum() == 4
    assert "4 trials failed" in figures.images_used(result)
    figures.parallel_coordinates(result)
    figures.scatter_matrix(result)
    figures.heat_map(result)
    assert figures.effects(result)["trials"].sum() == 4
    steps = run_as_steps(made, tmp_path / "steps", space, **asked).trials
    pd.testing.assert_frame_equal(steps.drop(columns="seconds"), result.trials.drop(columns="seconds"))


@pytest.mark.parametrize("search", ["tuner", "grid"])
def test_lists_and_mixed_numbers_can_be_searched(stages: Callable[..., Any], tmp_path: Path, search: str) -> None:
    space = {"filters": [[2, 3], [4]], "dropout": [0, 0.25], "padding": ["same", "valid"]}
    result = run(stages(), tmp_path, space, search=search, search_trials=5)
    assert len(result.scored) == 5
    assert result.best["builder_options"]["filters"] in space["filters"]
    assert set(result.trials["filters"]) <= {"[2, 3]", "[4]"} and set(result.trials["dropout"]) <= {0.0, 0.25}
    again = open_search(tmp_path)
    pd.testing.assert_frame_equal(again.trials, result.trials)
    figures.parallel_coordinates(result)
    assert figures.effects(result)["trials"].sum() == 15


def test_trials_are_computed_in_the_precision_asked_for(
    stages: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(source: str) -> str:
        line = "    training.build_optimizer(model)"
        return source.replace(line, f"{line}\n    print(model.layers[1].compute_dtype)")

    try:
        run(stages(), tmp_path, {"dense_units": [4, 8]}, edit, precision="mixed_bfloat16")
    finally:
        keras.config.set_dtype_policy("float32")
    assert capsys.readouterr().out.split() == ["bfloat16", "bfloat16"]


def test_half_of_the_budget_is_shared_by_the_trials(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="test")
    network = models.build("conv_pool_network", made.prepared.input_shape, 10, options=BUILDER_OPTIONS)
    gflop = models.forward_gflop(network)
    budget = 2 * 2 * gflop * (3 + 0.25) * 40 / 1000 * 1.001  # two trials of one epoch with 40 + 10 images
    result = run(made, tmp_path, {"learning_rate": [0.01, 0.001]}, max_training_tflop=budget)
    assert (result.best["train_images"], result.best["validation_images"]) == (40, 10)
    assert result.best["test_images"] == 10  # of 20, as many in proportion


def test_images_to_choose_by_show_every_class(stages: Callable[..., Any]) -> None:
    """Cut off the end of images sorted by class, they would show the last classes alone."""
    prepared = stages(train=100, validation="none", validation_sampling="stratified").prepared
    by_class = np.argsort(prepared.train.labels, kind="stable")
    prepared = replace(prepared, train=replace(prepared.train, indices=prepared.train.indices[by_class]))
    train, chosen_by = held_out(prepared, 0.2)
    assert (len(train), len(chosen_by)) == (80, 20)
    assert np.bincount(chosen_by.labels).tolist() == [2] * 10
    assert not set(train.ids) & set(chosen_by.ids)
