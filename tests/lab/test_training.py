from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import models, training
from bakeoff.lab.input_pipeline import ArrayExamples
from bakeoff.lab.training.checkpoint import STATE
from bakeoff.lab.training.feature_extraction import extract_features
from bakeoff.lab.training.history import COLUMNS
from tests.lab import cells
from tests.lab.cells import TRAINING, run_cells

SMALL: dict[str, Any] = {"filters": [4], "kernel_size": 3, "padding": "valid", "dense_units": 8, "pool_size": 4}
DEFAULTS: dict[str, Any] = {
    "builder": "conv_pool_network",
    "builder_options": SMALL,
    "weights": "random",
    "image_size": 0,
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
MOBILENET: dict[str, Any] = {"builder": "mobilenetv2_transfer", "builder_options": {}}


@dataclass
class Trained:
    """What the training notebook's cells leave behind."""

    model: keras.Model
    history: pd.DataFrame
    summary: dict[str, Any]


def train(stages: Any, folder: Path, trainer: str = "fit", network: Any = None, **changes: Any) -> Trained:
    """Run the cells of a training notebook, in a session of Keras as a fresh kernel has it."""
    keras.backend.clear_session()
    paths = {name: str(folder / name) for name in ("build", "train", "checkpoint")}
    values = DEFAULTS | changes
    stages.inputs.update(build=paths["build"], train=paths["train"])
    inputs = {"checkpoint": paths["checkpoint"]} | stages.inputs | values.get("inputs", {})
    edit = _with_own(network) if network else lambda source: source
    names = run_cells(TRAINING[trainer], values | {"inputs": inputs, "output": paths["train"]}, edit)
    result = training.open_training(paths["train"])
    return Trained(names["model"], result.history, result.summary)


def _with_own(network: Any) -> Any:
    """The edit that puts a network of one's own in place of the catalogue's."""
    cells.OWN["network"] = network
    own = "from tests.lab import cells; network = cells.OWN['network']"

    def edit(source: str) -> str:
        source = source.replace("network = models.find_network(builder)", own)
        return re.sub(r"options = models.network_options.*", "options = {}", source)

    return edit


def describe(folder: Path, stages: Any, builder: str = "conv_pool_network", **options: Any) -> models.Network:
    """What the build stage writes of the network that `train` trains."""
    arguments: dict[str, Any] = {
        "builder": builder,
        "options": options or (SMALL if builder == "conv_pool_network" else {}),
    }
    arguments |= {"weights": "random", "image_size": 0, "seed": 0}
    shape, outputs = stages.prepared.input_shape, stages.prepared.num_outputs
    model = models.build(arguments["builder"], shape, outputs, options=arguments["options"])
    return models.describe(model, folder / "build", input_shape=shape, num_classes=outputs, **arguments)


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.get_weights()]


def test_tensorflow_traces_a_step_once(stages: Callable[..., Any], tmp_path: Path) -> None:
    traced: list[Any] = []

    class Traced(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            traced.append(data)
            return super().train_step(data)

    def network(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
        layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes, "softmax")]
        return Traced(layers)

    train(stages(), tmp_path, network=network, batch_size=7)
    assert len(traced) == 1


def test_a_training_is_recorded_saved_and_opened(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    result = train(made, tmp_path, epochs=4)
    assert list(result.history.columns) == list(COLUMNS) and result.history["epoch"].tolist() == [1, 2, 3, 4]
    summary = result.summary
    assert (summary["train_images"], summary["validation_images"], summary["optimizer_steps"]) == (80, 20, 12)
    assert summary["train_loss"] == result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]
    assert summary["validation_accuracy"] == result.history["validation_accuracy"].iloc[-1]
    assert summary["train_seconds"] > 0 and summary["images_per_second"] > 0 and not summary["partly_saved"]
    images = made.prepared.test.batch(slice(None))
    loaded = training.load_trained(made.inputs)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), result.model.predict(images, verbose=0))
    assert not loaded.compiled  # saved without the state of an optimizer
    assert not (tmp_path / "checkpoint" / STATE).exists()


def test_the_accuracies_recorded_are_those_of_the_trained_network(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=100)
    result = train(made, tmp_path)
    view = made.prepared.validation
    likeliest = result.model.predict(view.batch(slice(None)), verbose=0).argmax(axis=1)
    assert result.summary["validation_accuracy"] == pytest.approx((likeliest == view.labels).mean(), abs=1e-6)


def test_a_finished_training_is_opened_and_no_file_changes(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    first = train(made, tmp_path)
    files = {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()}
    again = train(made, tmp_path)
    assert again.summary == first.summary
    assert {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()} == files
    for old, new in zip(weights_of(first.model), weights_of(again.model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_by_hand_every_run_of_the_cells_trains(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    made.inputs["checkpoint"] = ""  # the pipeline names a folder
    first = train(made, tmp_path)
    again = train(made, tmp_path, epochs=3, learning_rate=0.002)
    assert len(first.history) == 2 and len(again.history) == 3
    assert again.summary["learning_rate"] == 0.002


def test_the_same_seed_gives_the_same_bits_and_another_does_not(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        changes = {"augmentation": {"rotation_degrees": 10, "horizontal_flip": True}, "seed": seed}
        model = train(made, tmp_path / name, builder_options=SMALL | {"dropout": 0.3}, **changes).model
        results.append(np.concatenate([weight.ravel() for weight in weights_of(model)]))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"])
def test_accuracy_counts_images_whatever_the_loss(loss: str, stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    result = train(made, tmp_path, loss=loss, epochs=1, learning_rate=1e-12)
    assert result.summary["train_accuracy"] < 0.5  # nine outputs of ten are right from the start
    view = made.prepared.train
    likeliest = result.model.predict(view.batch(slice(None)), verbose=0).argmax(axis=1)
    assert result.summary["train_accuracy"] == pytest.approx((likeliest == view.labels).mean(), abs=1e-6)


def test_one_class_against_all_others(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=200, task="binary", examples_per_side=12, validation="none")
    result = train(made, tmp_path, loss="binary_crossentropy", batch_size=8, epochs=25, seed=1)
    assert result.model.output_shape == (None, 1) and result.summary["train_images"] == 24
    assert result.summary["train_accuracy"] > 0.7
    assert result.summary["validation_accuracy"] is None and result.summary["best_epoch"] > 0


def test_a_budget_cuts_training_and_validation_images(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    gflop = describe(tmp_path, made).forward_gflop
    budget = gflop * (3 + 0.25) * 2 * 40 / 1000 * 1.001  # 40 training and 10 validation images, two epochs
    summary = train(made, tmp_path, max_training_tflop=budget, batch_size=16).summary
    assert (summary["train_images"], summary["train_images_available"]) == (40, 80)
    assert (summary["validation_images"], summary["validation_images_available"]) == (10, 20)


def test_even_the_least_budget_pays_for_a_batch(stages: Callable[..., Any], tmp_path: Path) -> None:
    summary = train(stages(), tmp_path, max_training_tflop=1e-9).summary
    assert (summary["train_images"], summary["optimizer_steps"]) == (32, 2)


def test_without_a_training_the_network_is_the_one_that_was_built(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    describe(tmp_path, made)
    built = models.build("conv_pool_network", made.prepared.input_shape, 10, options=SMALL)
    loaded = training.load_trained(made.inputs | {"build": str(tmp_path / "build")})
    for old, new in zip(weights_of(built), weights_of(loaded), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_head_is_trained_on_features_of_images_and_mirror_images(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=50, scaling="symmetric")
    describe(tmp_path, made, "mobilenetv2_transfer")
    before = weights_of(models.split_base(models.rebuild(tmp_path / "build"))[0])
    result = train(made, tmp_path, "feature_extraction", trainer_options={"mirror": True}, **MOBILENET)
    summary, (base, head) = result.summary, models.split_base(result.model)
    assert summary["train_images"] == 40 and summary["optimizer_steps"] == 6  # 80 images in batches of 32, twice
    assert 0 < summary["feature_seconds"] < summary["train_seconds"]
    for old, new in zip(before, weights_of(base), strict=True):
        np.testing.assert_array_equal(old, new)
    images = made.prepared.train.batch(slice(None))
    features = base.predict(np.concatenate([images, images[:, :, ::-1]]), verbose=0)
    standardised = keras.ops.convert_to_numpy(head.layers[1](features))
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-2)
    expected = result.model.predict(images, verbose=0)
    np.testing.assert_array_equal(training.load_trained(made.inputs).predict(images, verbose=0), expected)
    names = {"model.keras", "training.json", "history.csv", "sample_predictions.npz"}
    assert {path.name for path in (tmp_path / "train").iterdir()} == names


def test_features_are_shared_by_trainings_that_need_the_same_and_computed_anew_when_damaged(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    made = stages(train=50, scaling="symmetric")
    shared = tmp_path / "shared"
    made.inputs["shared"] = str(shared)

    def heads(name: str, seed: int) -> tuple[Trained, list[Path]]:
        # The base has no weights of its own here, and another seed would give it others: it must stay the same.
        def network(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
            model = models.build("mobilenetv2_transfer", input_shape, num_classes)
            keras.utils.set_random_seed(seed)
            return model

        options = {"trainer_options": {"mirror": True}, "seed": seed}
        result = train(made, tmp_path / name, "feature_extraction", network=network, **options)
        return result, sorted(shared.iterdir())

    first, files = heads("first", 0)
    assert len(files) == 3  # images, mirror images, validation
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert first.summary["feature_files"] == digests
    dates = [path.stat().st_mtime_ns for path in files]
    second, _ = heads("another-seed", 1)
    assert [path.stat().st_mtime_ns for path in sorted(shared.iterdir())] == dates
    assert second.summary["feature_seconds"] == first.summary["feature_seconds"]  # the cost of having them
    assert second.summary["train_seconds"] > second.summary["feature_seconds"]
    assert second.summary["feature_files"] == digests
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 1
    files[0].write_bytes(content)
    repaired, _ = heads("repaired", 0)
    for one, other in zip(weights_of(first.model), weights_of(repaired.model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert files[0].read_bytes() != bytes(content)


def two_part_network(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    base = keras.Sequential(
        [keras.Input(input_shape), keras.layers.Conv2D(4, 3, strides=4), keras.layers.BatchNormalization()],
        name="base",
    )
    inputs = keras.Input(input_shape)
    features = keras.layers.Dropout(0.2)(keras.layers.Flatten()(base(inputs)))
    outputs = keras.layers.Dense(num_classes, activation="softmax")(features)
    return keras.Model(inputs, outputs)


def test_fine_tuning_trains_the_head_and_then_everything(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages()
    options = {"head_epochs": 1, "head_learning_rate": 0.01, "schedule": "cosine"}
    changes = {"optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}, "trainer_options": options}
    keras.utils.set_random_seed(0)
    before = weights_of(two_part_network(made.prepared.input_shape, 10).get_layer("base"))
    head = train(made, tmp_path / "head", "fine_tune", two_part_network, epochs=1, **changes)
    for old, new in zip(before, weights_of(head.model.get_layer("base")), strict=True):
        np.testing.assert_array_equal(old, new)
    result = train(made, tmp_path / "all", "fine_tune", two_part_network, epochs=3, learning_rate=0.002, **changes)
    assert not np.array_equal(before[0], weights_of(result.model.get_layer("base"))[0])
    rates = result.history["learning_rate"].tolist()
    assert rates[0] == pytest.approx(0.01) and rates[1] == pytest.approx(0.001, rel=0.01)
    assert rates[2] == pytest.approx(0, abs=1e-6)
    assert result.model.get_layer("base").trainable


def test_what_is_fixed_in_the_base_stays_fixed_in_both_phases(stages: Callable[..., Any], tmp_path: Path) -> None:
    def network(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
        model = two_part_network(input_shape, num_classes)
        model.get_layer("base").layers[-1].trainable = False
        return model

    made = stages(train=40)
    before = network(made.prepared.input_shape, 10).get_layer("base").layers[-1].get_weights()
    result = train(made, tmp_path, "fine_tune", network, epochs=2, trainer_options={"head_epochs": 1})
    norm = result.model.get_layer("base").layers[-1]
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not norm.trainable


def test_a_training_that_diverges_ends_there(stages: Callable[..., Any], tmp_path: Path) -> None:
    result = train(stages(), tmp_path, optimizer="sgd", learning_rate=1e30, epochs=4)
    summary = result.summary
    assert summary["diverged_epoch"] == len(result.history) < 4
    assert summary["train_accuracy"] is None and summary["validation_accuracy"] is None


def test_a_network_larger_than_memory_is_refused_before_it_is_trained(
    stages: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="memory"):
        train(stages(), tmp_path, builder="dense_network", builder_options={"units": [400_000, 400_000]})


def test_the_best_epoch_is_by_validation_and_else_by_training() -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "train_accuracy": [0.2, 0.5, 0.4], "validation_accuracy": [0.1, 0.3, 0.3]}
    )
    assert training.best_epoch(history) == 2
    assert training.best_epoch(history.assign(validation_accuracy=None)) == 2
    assert training.best_epoch(history.iloc[:0]) == 0


def test_a_network_is_trained_in_mixed_precision(stages: Callable[..., Any], tmp_path: Path) -> None:
    try:
        summary = train(stages(), tmp_path, precision="mixed_bfloat16", epochs=1).summary
    finally:
        keras.config.set_dtype_policy("float32")
    assert summary["precision"] == "mixed_bfloat16" and summary["train_loss"] > 0


def test_mirror_images_are_arrays_that_every_backend_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the code before, PyTorch refused them: it takes no array that is read backwards."""
    base, given = two_part_network((8, 8, 3), 10).get_layer("base"), []
    predict = base.predict_on_batch
    monkeypatch.setattr(base, "predict_on_batch", lambda images: given.append(images) or predict(images))
    images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    extract_features(base, ArrayExamples(images, np.zeros(3, np.int64)), mirror=True)
    assert all(min(each.strides) > 0 for each in given)
    np.testing.assert_array_equal(given[1], images[:, :, ::-1])
