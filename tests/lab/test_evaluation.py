from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from bakeoff.lab import data, evaluation, files, input_pipeline, models, preprocessing, training
from bakeoff.lab.input_pipeline import encode_labels
from bakeoff.lab.losses import LOSSES, losses
from bakeoff.lab.plots import evaluation as figures
from bakeoff.lab.plots import training as training_figures
from tests.lab.cells import code_cells, run_cells
from tests.lab.cells import prepare as run_preprocess
from tests.lab.made import measure

LOOK: dict[str, Any] = {"color": "rgb", "gray_weights": [0.3, 0.6, 0.1], "scaling": "unit", "validation": "none"}
LOOK |= {
    "validation_split": 0.2,
    "validation_sampling": "last",
    "validation_preprocessing": "same",
    "positive_class": "",
    "examples_per_side": 0,
}


def prepare(folder: Path, task: str, test_images: int, **changes: Any) -> preprocessing.Prepared:
    """Synthetic images, prepared: 64 to train on, and test images."""
    dataset = data.load("shapes10", folder / "load", max_train_examples=64, max_test_examples=test_images, seed=0)
    return run_preprocess(dataset, folder / "preprocess", task=task, **LOOK | changes)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> preprocessing.View:
    """Twelve drawn test images."""
    return prepare(tmp_path_factory.mktemp("view"), "classes", 12).test


def network(side: int = 32, units: int = 3) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((side, side, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    last = keras.layers.Dense(units, activation="sigmoid" if units == 1 else "softmax")
    return keras.Sequential([*layers, keras.layers.Flatten(), last])


def random_probabilities(images: int, classes: int) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(classes), images).astype(np.float32)


@pytest.mark.parametrize(
    ("available", "gflop", "budget", "expected"),
    [(1000, 10, None, 1000), (1000, 10, 1, 100), (1000, 10, 0.01, 16), (9, 10, 0.01, 9), (1000, 0, 1, 1000)],
)
def test_the_budget_cuts_the_test_images_but_leaves_sixteen(
    available: int, gflop: float, budget: float | None, expected: int
) -> None:
    assert evaluation.images_to_score(available, gflop, budget) == expected


def test_large_networks_see_fewer_images_at_once() -> None:
    assert evaluation.images_per_step(250, 0.01) == 250
    assert evaluation.images_per_step(250, 40.1) == 24
    assert evaluation.images_per_step(250, 5000) == 1
    with pytest.raises(ValueError, match="at least 1"):
        evaluation.images_per_step(0, 1)


def test_six_views_are_the_image_its_mirror_image_and_their_shifts(view: preprocessing.View) -> None:
    images = view.raw([0])
    changed = [change(images) for _, change in evaluation.MIRROR_SHIFTS]
    assert sum(share for share, _ in evaluation.MIRROR_SHIFTS) == 1
    assert len(changed) == len(evaluation.views(view, "mirror_shifts"))
    image, mirrored, down_right, down_right_mirrored, up_left, _ = changed
    assert (image == images).all() and (mirrored == images[:, :, ::-1]).all()
    assert (down_right[:, 1:, 1:] == images[:, :-1, :-1]).all() and (up_left[:, :-1, :-1] == images[:, 1:, 1:]).all()
    assert (down_right_mirrored == down_right[:, :, ::-1]).all()
    assert (down_right[:, 0, 1:] == images[:, 1, :-1]).all()


def test_unknown_views_are_refused(view: preprocessing.View) -> None:
    assert list(evaluation.views(view, "none")) == [view]
    with pytest.raises(ValueError, match="none or mirror_shifts, not 'ten_crop'"):
        evaluation.views(view, "ten_crop")


def test_the_mean_of_views_is_the_mean_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 5, 4))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    mixed = np.tensordot([0.25, 0.25, 0.125, 0.125, 0.125, 0.125], logits, 1)
    expected = np.exp(mixed) / np.exp(mixed).sum(axis=-1, keepdims=True)
    assert evaluation.mean_of_views(list(softmax)) == pytest.approx(expected, abs=1e-6)


def test_a_probability_of_zero_stays_a_number() -> None:
    certain = np.array([[1.0, 0.0]], np.float32)
    assert evaluation.mean_of_views([certain] * 6) == pytest.approx(certain)


def test_one_sigmoid_unit_becomes_two_columns() -> None:
    assert evaluation.two_columns(np.array([[0.25]], np.float32)).tolist() == [[0.75, 0.25]]
    assert evaluation.two_columns(np.array([[0.25, 0.75]], np.float32)).shape == (1, 2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_is_keras_own(loss: str, smoothing: float, classes: int) -> None:
    probabilities, labels = random_probabilities(40, classes), np.arange(40) % classes
    probabilities[0] = np.eye(classes)[1]  # certain and wrong: Keras clips it
    sparse = loss == "sparse_categorical_crossentropy" and not smoothing  # with smoothing it is on one-hot labels
    keras_loss = {
        "sparse_categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
    }[loss]
    theirs = keras.losses.SparseCategoricalCrossentropy() if sparse else keras_loss(label_smoothing=smoothing)
    target = encode_labels(labels, classes, not sparse)
    ours = losses(probabilities, labels, loss, smoothing).mean()
    assert ours == pytest.approx(float(theirs(target, probabilities)), rel=1e-4)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'hinge'"):
        losses(random_probabilities(2, 2), np.array([0, 1]), "hinge", 0.0)


def test_top_k_counts_the_k_likeliest_and_is_empty_when_k_covers_all() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    labels = np.array([0, 1, 2])
    assert evaluation.top_k_accuracy(probabilities, labels, 1) == pytest.approx(1 / 3)
    assert evaluation.top_k_accuracy(probabilities, labels, 2) == pytest.approx(2 / 3)
    assert evaluation.top_k_accuracy(probabilities, labels, 3) is None


def test_of_equal_probabilities_the_first_count_as_they_do_for_the_accuracy() -> None:
    alike, labels = np.full((6, 3), 1 / 3), np.array([0, 0, 0, 0, 1, 2])
    assert evaluation.top_k_accuracy(alike, labels, 1) == (alike.argmax(axis=1) == labels).mean() == 4 / 6
    different = random_probabilities(40, 10)
    expected = top_k_accuracy_score(np.arange(40) % 10, different, k=3)
    assert evaluation.top_k_accuracy(different, np.arange(40) % 10, 3) == expected


def test_balanced_accuracy_does_not_reward_predicting_the_frequent_class() -> None:
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (10, 1))
    labels = np.array([0] * 9 + [1])
    numbers = measure(probabilities, labels, ["yes", "no"], "binary", loss="binary_crossentropy")
    assert numbers["test_accuracy"] == 0.9 and numbers["balanced_accuracy"] == 0.5
    assert numbers["top_k_accuracy"] is None
    assert [row["recall"] for row in numbers["per_class"]] == [1.0, 0.0]


def test_a_class_without_test_images_does_not_count_in_the_balanced_accuracy() -> None:
    names, sure = ["accuracy", "macro avg", "macro avg"], np.eye(3, dtype=np.float32)[[0, 1]]  # as sklearn's own rows
    numbers = measure(sure, np.array([0, 1]), names, top_k=1)
    assert numbers["balanced_accuracy"] == 1.0 and numbers["per_class"][2]["support"] == 0
    assert [row["class_name"] for row in numbers["per_class"]] == names


def test_labels_only_measures_nothing() -> None:
    numbers = measure(random_probabilities(4, 9), np.arange(4), ["a"], "labels_only", 9, "whatever")
    assert numbers["test_accuracy"] is None and numbers["per_class"] == []
    assert set(numbers) == set(measure(random_probabilities(4, 4), np.arange(4), list("abcd"), top_k=1))


LOSS = ("sparse_categorical_crossentropy", 0.0)


def predicted(model: Any, view: preprocessing.View, step: int, views: str = "none") -> np.ndarray:
    """Probabilities (n, k), as the notebook's cell predicts them."""
    outputs = []
    for each in evaluation.views(view, views):
        batches = input_pipeline.Batches(each, step, num_outputs=10)
        outputs.append(model.predict(batches.dataset(), steps=len(batches), verbose=0))
    return evaluation.mean_of_views(outputs)


def test_predictions_do_not_depend_on_the_size_of_the_step(view: preprocessing.View) -> None:
    model = network()
    together, apart = (predicted(model, view, step) for step in (12, 5))
    assert together == pytest.approx(apart, abs=1e-6) and together.sum(axis=1) == pytest.approx(np.ones(12), abs=1e-6)


def test_views_change_the_predictions_a_little_and_a_sigmoid_bears_them(view: preprocessing.View) -> None:
    for units in (1, 3):
        model = network(units=units)
        plain, averaged = (predicted(model, view, 8, views) for views in ("none", "mirror_shifts"))
        assert averaged.shape == plain.shape and averaged.dtype == np.float32
        assert averaged.sum(axis=1) == pytest.approx(np.ones(12), abs=1e-6) and not np.allclose(plain, averaged)


def test_latency_is_a_positive_time_of_calls_after_a_first() -> None:
    calls: list[int] = []
    assert evaluation.milliseconds_per_image(lambda: calls.append(1)) > 0
    assert len(calls) == evaluation.LATENCY_RUNS + 1


SCHEDULE: dict[str, Any] = {"loss": LOSS[0], "label_smoothing": 0.0}
SCHEDULE |= {"optimizer": "adam", "learning_rate": 0.001, "optimizer_options": {}, "batch_size": 32, "epochs": 1}
SCHEDULE |= {"augmentation": {}, "seed": 0, "precision": "float32", "jit_compile": False, "steps_per_execution": 1}


def trained(folder: Path, task: str, validation: str = "none", **changes: Any) -> dict[str, str]:
    """The folders of a small dense network that was trained on 64 synthetic images; 40 test images."""
    inputs = {stage: str(folder / stage) for stage in ("load", "preprocess", "build", "train")}
    prepared = prepare(folder, task, 40, validation=validation)
    shape, outputs, options = prepared.input_shape, prepared.num_outputs, {"units": [8]}
    model = models.build("dense_network", shape, outputs, options=options)
    facts: dict[str, Any] = {"input_shape": shape, "num_classes": outputs, "seed": 0, "image_size": 0}
    models.describe(model, inputs["build"], builder="dense_network", options=options, weights="none", **facts)
    schedule = SCHEDULE | ({"loss": "binary_crossentropy"} if task == "binary" else {}) | changes
    network = {"builder": "dense_network", "builder_options": options, "weights": "none", "image_size": 0}
    names = {"inputs": inputs | {"checkpoint": str(folder / "checkpoint")}, "output": inputs["train"]}
    run_cells("5_train", schedule | network | names | {"max_training_tflop": None})
    return inputs


def evaluated(inputs: dict[str, str], folder: Path, **changes: Any) -> evaluation.Evaluation:
    """What the cells of the notebook that compute leave, under papermill."""
    folder.mkdir(exist_ok=True)
    asked: dict[str, Any] = {"evaluation_batch_size": 16, "inputs": inputs, "output": str(folder)}
    return run_cells("6_evaluate", asked | changes)["result"]


@pytest.mark.parametrize(
    ("task", "columns", "views"), [("classes", 10, "none"), ("classes", 10, "mirror_shifts"), ("binary", 2, "none")]
)
def test_a_page_that_is_made_again_predicts_nothing_and_changes_no_file(
    tmp_path: Path, task: str, columns: int, views: str
) -> None:
    inputs = trained(tmp_path, task, validation="split")
    asked: dict[str, Any] = {"task": task, "max_evaluation_tflop": 1e-9, "test_time_augmentation": views}
    asked["loss"] = "binary_crossentropy" if task == "binary" else LOSS[0]
    first = evaluated(inputs, tmp_path / "evaluate", **asked)
    assert first.probabilities.shape == (16, columns) and first.metrics["test_images_available"] == 40
    assert first.metrics["round_trip_difference"] == 0 and first.metrics["dataset"] == "shapes10"
    assert first.metrics["accuracy_low"] <= first.correct.mean() <= first.metrics["accuracy_high"]
    assert (first.metrics["validation_accuracy"] is None) == (views == "none")
    written = {path.name: path.read_bytes() for path in (tmp_path / "evaluate").iterdir()}
    assert set(written) == {"predictions.npz", "metrics.json"}
    again = evaluated(inputs | {"train": str(tmp_path / "gone")}, tmp_path / "evaluate", **asked)
    assert again.metrics == first.metrics and (again.probabilities == first.probabilities).all()
    assert {path.name: path.read_bytes() for path in (tmp_path / "evaluate").iterdir()} == written


def test_a_cell_that_is_changed_and_run_again_measures_anew(tmp_path: Path) -> None:
    """As by hand, where the set-up cell has found an empty folder."""
    inputs, folder = trained(tmp_path, "classes"), tmp_path / "evaluate"
    folder.mkdir()
    names = run_cells("6_evaluate", {"inputs": inputs, "output": str(folder)})
    first = names["result"].metrics
    names |= {"top_k": 5, "loss": LOSSES[1], "label_smoothing": 0.1}
    for tags, source in code_cells("6_evaluate"):
        if not {"page", "parameters"} & {*tags} and "resolve_inputs" not in source:
            exec(source, names)
    again = names["result"].metrics
    assert again["top_k"] == 5 and again["test_loss"] != first["test_loss"]


def test_a_stored_network_that_is_not_the_trained_one_is_found_out(tmp_path: Path) -> None:
    inputs = trained(tmp_path, "classes")
    path = Path(inputs["train"]) / training.MODEL
    stored = training.load_trained(inputs)
    stored.set_weights([weight * 1.5 for weight in stored.get_weights()])
    stored.save(path)
    scores = evaluated(inputs, tmp_path / "evaluate")
    assert scores.metrics["round_trip_difference"] > 0.001
    assert "other probabilities" in figures.speed_and_storage_words(scores)


@pytest.mark.parametrize("validation", ["none", "split"])
def test_a_training_that_diverges_is_said_to_and_nothing_is_measured(tmp_path: Path, validation: str) -> None:
    inputs = trained(
        tmp_path, "classes", validation, optimizer="sgd", learning_rate=1e30, epochs=4, augmentation={}, batch_size=8
    )
    result = training.open_training(inputs["train"])
    assert result.summary["diverged_epoch"] == len(result.history) < result.summary["epochs_planned"] == 4
    assert result.summary["train_accuracy"] is None and result.summary["validation_accuracy"] is None
    scores = evaluated(inputs, tmp_path / "evaluate")
    assert scores.metrics["test_images"] == 0 and len(scores.probabilities) == 0 and not scores.measured
    for name in ("test_accuracy", "test_loss", "expected_calibration_error", "top_k_accuracy", "balanced_accuracy"):
        assert scores.metrics[name] is None
    said = [figures.headline(scores), training_figures.outcome(result)]
    assert all("diverged** at epoch" in each for each in said)
    assert "diverged" in training_figures.overfitting(result)
    for each in (figures.speed_and_storage_words(scores), training_figures.images_used(result)):
        assert each.endswith(".") and "nan" not in each
    training_figures.curves(result)
    training_figures.describe_curves(result)
    assert not training_figures.compare_with_published(result, {"train_accuracy": 0.9}).count("nan")


def test_what_was_evaluated_opens_again(tmp_path: Path) -> None:
    probabilities = random_probabilities(5, 3)
    ids = np.array([f"test_{at}" for at in range(5)])
    files.write_npz(tmp_path / "predictions.npz", ids=ids, labels=np.arange(5) % 3, probabilities=probabilities)
    files.write_json(tmp_path / "metrics.json", {"task": "classes", "class_names": list("abc")})
    opened = evaluation.open_evaluation(tmp_path)
    assert (opened.probabilities == probabilities).all() and opened.ids.tolist() == ids.tolist()
    assert opened.measured and opened.class_names == list("abc")
    assert (opened.correct == (opened.predicted == opened.labels)).all()
