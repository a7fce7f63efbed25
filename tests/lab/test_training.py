from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import fitting, models, training
from bakeoff.lab.files import write_json
from bakeoff.lab.fitting import HISTORY_COLUMNS, Recipe
from bakeoff.lab.training import Training

SMALL: dict[str, Any] = {"filters": [4], "kernel_size": 3, "padding": "valid", "dense_units": 8, "pool_size": 4}
DEFAULTS: dict[str, Any] = {
    "trainer": "fit",
    "trainer_options": {},
    "loss": "sparse_categorical_crossentropy",
    "label_smoothing": 0.0,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "optimizer_options": {},
    "batch_size": 32,
    "epochs": 2,
    "augmentation": {},
    "seed": 0,
    "precision": "float32",
    "jit_compile": False,
    "steps_per_execution": 1,
    "max_training_tflop": None,
}


def build(folder: Path, prepared: Any, builder: str = "conv_pool_network", **options: Any) -> keras.Model:
    arguments: dict[str, Any] = {
        "builder": builder,
        "options": options or (SMALL if builder == "conv_pool_network" else {}),
        "weights": "random",
        "image_size": 0,
        "input_shape": prepared.input_shape,
        "num_classes": prepared.num_outputs,
        "seed": 0,
    }
    keyword = {name: arguments[name] for name in ("options", "weights", "image_size", "seed")}
    model = models.build(builder, prepared.input_shape, prepared.num_outputs, **keyword)
    models.describe(model, folder / "build", **arguments)
    return models.rebuild(folder / "build")


def train(model: keras.Model, stages: Any, folder: Path, **changes: Any) -> Training:
    stages.inputs.update(build=str(folder / "build"), train=str(folder / "train"))
    return training.train(model, stages.prepared, folder / "train", **DEFAULTS | {"inputs": stages.inputs} | changes)


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.get_weights()]


def test_tensorflow_traces_a_step_once(stages: Callable[..., Any], tmp_path: Path) -> None:
    made, traced = stages(), []
    model = build(tmp_path, made.prepared)
    step = model.train_step
    model.train_step = lambda data: traced.append(data) or step(data)
    train(model, made, tmp_path, batch_size=7)
    assert len(traced) == 1


def test_a_training_is_recorded_saved_and_opened(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    model = build(tmp_path, made.prepared)
    result = train(model, made, tmp_path, epochs=4)
    assert list(result.history.columns) == list(HISTORY_COLUMNS) and result.history["epoch"].tolist() == [1, 2, 3, 4]
    summary = result.summary
    assert (summary["train_images"], summary["validation_images"], summary["optimizer_steps"]) == (80, 20, 12)
    assert summary["train_loss"] == result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]
    assert summary["validation_accuracy"] == result.history["validation_accuracy"].iloc[-1]
    assert summary["train_seconds"] > 0 and summary["images_per_second"] > 0 and summary["model_file"] == "model.keras"
    images = made.prepared.test.batch(slice(None))
    loaded = training.load_trained(made.inputs)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert not loaded.compiled  # saved without the state of an optimizer
    pd.testing.assert_frame_equal(training.open_training(tmp_path / "train").history, result.history)


def test_the_accuracies_recorded_are_those_of_the_trained_network(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=100)
    model = build(tmp_path, made.prepared)
    summary = train(model, made, tmp_path).summary
    view = made.prepared.validation
    likeliest = model.predict(view.batch(slice(None)), verbose=0).argmax(axis=1)
    assert summary["validation_accuracy"] == pytest.approx((likeliest == view.labels).mean(), abs=1e-6)


def test_a_finished_training_is_not_repeated(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    first = train(build(tmp_path, made.prepared), made, tmp_path)
    untouched = build(tmp_path, made.prepared)
    before = weights_of(untouched)
    again = train(untouched, made, tmp_path, epochs=9)
    assert again.summary == first.summary
    for old, new in zip(before, weights_of(untouched), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    results = []
    options = SMALL | {"dropout": 0.3}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        model = build(tmp_path / name, made.prepared, **options)
        augmentation = {"rotation_degrees": 10, "horizontal_flip": True}
        train(model, made, tmp_path / name, seed=seed, augmentation=augmentation)
        results.append(np.concatenate([weight.ravel() for weight in weights_of(model)]))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("loss", "smoothing", "one_hot", "metric"),
    [
        ("sparse_categorical_crossentropy", 0.0, False, keras.metrics.SparseCategoricalAccuracy),
        ("sparse_categorical_crossentropy", 0.1, True, keras.metrics.CategoricalAccuracy),
        ("categorical_crossentropy", 0.0, True, keras.metrics.CategoricalAccuracy),
        ("binary_crossentropy", 0.0, True, keras.metrics.CategoricalAccuracy),
    ],
)
def test_loss_labels_and_accuracy_belong_together(loss: str, smoothing: float, one_hot: bool, metric: type) -> None:
    recipe = Recipe(loss=loss, label_smoothing=smoothing)
    assert fitting.needs_one_hot(recipe, 10) is one_hot
    assert type(fitting.make_accuracy(recipe, 10)) is metric
    assert getattr(fitting.make_loss(recipe, 10), "label_smoothing", 0.0) == smoothing


def test_binary_loss_on_ten_classes_counts_images_not_outputs(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    summary = train(build(tmp_path, made.prepared), made, tmp_path, loss="binary_crossentropy", epochs=1).summary
    assert summary["train_accuracy"] < 0.5  # nine outputs of ten are right from the start
    assert summary["train_loss"] < 1


def test_one_class_against_all_others(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=200, task="binary", examples_per_side=12, validation="none")
    model = build(tmp_path, made.prepared)
    with pytest.raises(ValueError, match="needs loss binary_crossentropy"):
        train(model, made, tmp_path)
    summary = train(model, made, tmp_path, loss="binary_crossentropy", batch_size=8, epochs=25).summary
    assert model.output_shape == (None, 1) and summary["train_images"] == 24
    assert summary["train_accuracy"] > 0.7
    assert summary["validation_accuracy"] is None and summary["best_epoch"] > 0


def test_a_budget_cuts_training_and_validation_images(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    model = build(tmp_path, made.prepared)
    gflop = models.open_network(tmp_path / "build").forward_gflop
    budget = gflop * (3 + 0.25) * 2 * 40 / 1000 * 1.001  # 40 training and 10 validation images, two epochs
    summary = train(model, made, tmp_path, max_training_tflop=budget, batch_size=16).summary
    assert (summary["train_images"], summary["train_images_available"]) == (40, 80)
    assert (summary["validation_images"], summary["validation_images_available"]) == (10, 20)


def test_a_search_sets_the_rate_and_takes_half_of_the_budget(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(validation="none")
    model = build(tmp_path, made.prepared)
    gflop = models.open_network(tmp_path / "build").forward_gflop
    write_json(tmp_path / "search" / "best.json", {"training": {"optimizer": "sgd", "learning_rate": 0.03}})
    inputs = made.inputs | {"search": str(tmp_path / "search")}
    budget = gflop * 3 * 2 * 50 / 1000 * 2.001
    summary = train(model, made, tmp_path, inputs=inputs, max_training_tflop=budget, batch_size=10).summary
    assert (summary["optimizer"], summary["learning_rate"], summary["train_images"]) == ("sgd", 0.03, 50)


def test_even_the_least_budget_pays_for_a_batch(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    summary = train(build(tmp_path, made.prepared), made, tmp_path, max_training_tflop=1e-9).summary
    assert (summary["train_images"], summary["optimizer_steps"]) == (32, 2)


def test_nothing_is_trained_by_trainer_none(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    model = build(tmp_path, made.prepared)
    result = train(model, made, tmp_path, trainer="none", epochs=5)
    assert result.history.empty and result.summary["epochs"] == 0 and result.summary["model_file"] is None
    assert result.summary["train_accuracy"] is None and result.summary["train_seconds"] == 0
    for old, new in zip(weights_of(model), weights_of(training.load_trained(made.inputs)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_head_is_trained_on_features_of_pictures_and_mirror_images(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages(train=50, scaling="symmetric")
    model = build(tmp_path, made.prepared, "mobilenetv2_transfer")
    base, head = models.split_base(model)
    before = weights_of(base)
    summary = train(model, made, tmp_path, trainer="features", trainer_options={"mirror": True}).summary
    assert summary["train_images"] == 40 and summary["optimizer_steps"] == 6  # 80 pictures in batches of 32, twice
    assert 0 < summary["feature_seconds"] < summary["train_seconds"]
    for old, new in zip(before, weights_of(base), strict=True):
        np.testing.assert_array_equal(old, new)
    images = made.prepared.train.batch(slice(None))
    features = base.predict(np.concatenate([images, images[:, :, ::-1]]), verbose=0)
    standardised = keras.ops.convert_to_numpy(head.layers[1](features))
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-2)
    loaded = training.load_trained(made.inputs)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert {path.name for path in (tmp_path / "train").iterdir()} == {
        "model.keras",
        "training.json",
        "history.csv",
        "answers.npz",
        "arguments.json",
    }


def test_features_are_shared_by_trainings_that_need_the_same_and_made_anew_when_damaged(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages(train=50, scaling="symmetric")
    shared = tmp_path / "shared"

    def heads(name: str, seed: int) -> tuple[list[np.ndarray], list[Path]]:
        keras.backend.clear_session()  # as in a fresh kernel, where names are counted from the beginning
        inputs = made.inputs | {"shared": str(shared)}
        model = build(tmp_path, made.prepared, "mobilenetv2_transfer")  # the same base each time
        again = dataclasses.replace(made, inputs=inputs)
        train(model, again, tmp_path / name, trainer="features", trainer_options={"mirror": True}, seed=seed)
        return weights_of(models.split_base(model)[1]), sorted(shared.iterdir())

    first, files = heads("first", 0)
    assert len(files) == 3  # pictures, mirror images, validation
    dates = [path.stat().st_mtime_ns for path in files]
    with np.load(files[0]) as kept:
        arrays = dict(kept)
    np.savez(files[0], **arrays | {"seconds": np.array(arrays["seconds"] + 1000)})
    dates[0] = files[0].stat().st_mtime_ns
    heads("another-seed", 1)
    summary = training.open_training(tmp_path / "another-seed" / "train").summary
    assert summary["train_seconds"] > summary["feature_seconds"] > 1000  # what it would have cost without the first
    assert [path.stat().st_mtime_ns for path in sorted(shared.iterdir())] == dates
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 1
    files[0].write_bytes(content)
    repaired, _ = heads("repaired", 0)
    for one, other in zip(first, repaired, strict=True):
        np.testing.assert_array_equal(one, other)
    assert files[0].read_bytes() != bytes(content)


def test_features_cannot_be_augmented(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=50, scaling="symmetric")
    model = build(tmp_path, made.prepared, "mobilenetv2_transfer")
    with pytest.raises(ValueError, match="option mirror"):
        train(model, made, tmp_path, trainer="features", augmentation={"horizontal_flip": True})


def two_part_network(made: Any) -> keras.Model:
    base = keras.Sequential(
        [
            keras.Input(made.prepared.input_shape),
            keras.layers.Conv2D(4, 3, strides=4),
            keras.layers.BatchNormalization(),
        ],
        name="base",
    )
    inputs = keras.Input(made.prepared.input_shape)
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(base(inputs)))
    return keras.Model(inputs, outputs)


def test_two_stages_train_the_head_and_then_everything(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    options = {"head_epochs": 1, "head_learning_rate": 0.01, "schedule": "cosine"}
    changes = {"trainer": "staged", "optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}}
    model = two_part_network(made)
    before = weights_of(model.get_layer("base"))
    train(model, made, tmp_path / "head", epochs=1, trainer_options=options, **changes)
    for old, new in zip(before, weights_of(model.get_layer("base")), strict=True):
        np.testing.assert_array_equal(old, new)
    model = two_part_network(made)
    result = train(model, made, tmp_path / "all", epochs=3, trainer_options=options, learning_rate=0.002, **changes)
    assert not np.array_equal(before[0], weights_of(model.get_layer("base"))[0])
    rates = result.history["learning_rate"].tolist()
    assert rates[0] == pytest.approx(0.01) and rates[1] == pytest.approx(0.001, rel=0.01)
    assert rates[2] == pytest.approx(0, abs=1e-6)
    assert model.get_layer("base").trainable


def test_what_is_fixed_in_the_base_stays_fixed_in_both_stages(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=40)
    model = two_part_network(made)
    norm = model.get_layer("base").layers[-1]
    norm.trainable = False
    before = norm.get_weights()
    train(model, made, tmp_path, epochs=2, trainer="staged", trainer_options={"head_epochs": 1})
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not norm.trainable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer": "fitt"}, "did you mean 'fit'"),
        ({"trainer_options": {"mirror": True}}, "unknown option of trainer fit 'mirror'"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"optimizer_options": {"beta": 1}}, "adam does not take optimizer_options"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"precision": "mixed_bfloat16"}, "built in float32"),
        ({"trainer": "staged"}, "a layer named base"),
        ({"trainer": "speedrun"}, "builder speedrun_cnn"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    changes: dict[str, Any], message: str, stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages()
    with pytest.raises(ValueError, match=message):
        train(build(tmp_path, made.prepared), made, tmp_path, **changes)
    assert not (tmp_path / "train" / "training.json").exists()


def test_the_best_epoch_is_by_validation_and_else_by_training() -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "train_accuracy": [0.2, 0.5, 0.4], "validation_accuracy": [0.1, 0.3, 0.3]}
    )
    assert training.best_epoch(history) == 2
    assert training.best_epoch(history.assign(validation_accuracy=None)) == 2
    assert training.best_epoch(history.iloc[:0]) == 0


def test_a_network_is_trained_in_mixed_precision(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    training.use_precision("mixed_bfloat16")
    try:
        model = build(tmp_path, made.prepared)
        summary = train(model, made, tmp_path, precision="mixed_bfloat16", epochs=1).summary
    finally:
        training.use_precision("float32")
    assert summary["precision"] == "mixed_bfloat16" and summary["train_loss"] > 0


def test_other_arguments_make_another_training_of_a_network_built_anew(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages(train=40)
    model = build(tmp_path, made.prepared)
    first = train(model, made, tmp_path, epochs=1)
    assert len(train(model, made, tmp_path, epochs=1).history) == 1  # the very same, opened
    with pytest.raises(ValueError, match="trained already: build it again"):
        train(model, made, tmp_path, epochs=2)
    again = train(models.rebuild(tmp_path / "build"), made, tmp_path, epochs=2)
    assert len(again.history) == 2
    assert again.history["train_loss"].iloc[0] == pytest.approx(first.history["train_loss"].iloc[0], rel=1e-4)
