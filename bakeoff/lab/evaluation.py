"""Score a trained network on the test images: every prediction is stored, every number is computed from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bakeoff.lab import files, preprocessing, statistics
from bakeoff.lab.losses import losses

if TYPE_CHECKING:
    import keras

MINIMUM_IMAGES = 16  # scored whatever the budget says, so that there is something to show
LABELS_ONLY_IMAGES = 250  # nothing is measured from these predictions: single pictures are shown, no more
STEP_GFLOP = 1000.0  # a prediction step takes fewer images where the network is so large that memory would run out
SMALLEST_PROBABILITY = 1e-30  # stands for a likelihood that rounded to 0, before its logarithm is taken
LATENCY_SECONDS, LATENCY_RUNS = 2.0, 20
VIEWS = {"none": 1, "mirror_shifts": 6}

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """Predictions on the first n test images, and what was measured from them.

    ids (n,) str; labels (n,) int64; probabilities (n, k) float32 whose rows sum to 1; metrics as in metrics.json.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    metrics: dict[str, Any]

    @property
    def measured(self) -> bool:
        """Whether the network answers with likelihoods of the data's classes, so that there is an accuracy."""
        return self.metrics["task"] != "labels_only" and self.metrics.get("diverged_epoch") is None

    @property
    def class_names(self) -> list[str]:
        """Names of the true labels."""
        return self.metrics["class_names"]

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each image, (n,) int64."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The likelihood of the likeliest class, (n,) float32."""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Which images were predicted right, (n,) bool."""
        return self.predicted == self.labels


def evaluate(
    inputs: Mapping[str, str],
    folder: str | Path,
    *,
    task: str,
    top_k: int,
    evaluation_batch_size: int,
    test_time_augmentation: str,
    max_evaluation_tflop: float | None,
    loss: str,
    label_smoothing: float,
) -> Evaluation:
    """Predict the test images, measure, and write predictions.npz and metrics.json; or return what is there already,
    if it was made with the same arguments.

    Of a network whose training diverged nothing is measured, and no prediction is stored.
    """
    from bakeoff.lab.training import diverged_epoch, load_trained

    given = {"task": task, "top_k": top_k, "loss": loss, "label_smoothing": label_smoothing}
    given |= {"batch": evaluation_batch_size, "views": test_time_augmentation, "tflop": max_evaluation_tflop}
    folder = Path(folder)
    files.claim(folder, given, ("metrics.json", "predictions.npz"))
    if (folder / "metrics.json").exists():
        return open_evaluation(folder)
    prepared, network = preprocessing.open_prepared(inputs), files.read_json(Path(inputs["build"]) / "network.json")
    test, names, gflop = prepared.test, list(prepared.class_names), float(network["forward_gflop"] or 0.0)
    there = min(len(test), LABELS_ONLY_IMAGES) if task == "labels_only" else len(test)
    count = images_to_score(there, gflop * number_of_views(test_time_augmentation), max_evaluation_tflop)
    step = images_per_step(evaluation_batch_size, gflop)
    model = load_trained(inputs)
    function = function_of(model)
    predict = predictor(function, test, test_time_augmentation)
    probabilities = np.concatenate([predict(chunk) for chunk in _chunks(count, step)])
    diverged = diverged_epoch(inputs, probabilities)
    if diverged is not None:
        count, probabilities = 0, probabilities[:0]
    ids, labels = np.asarray(test.ids[:count]), np.asarray(test.labels[:count])
    metrics = {
        "task": task,
        "dataset": prepared.dataset_name,
        "class_names": names,
        "test_images": count,
        "test_images_available": there,
        "weights": network["weights"],
        "test_time_augmentation": test_time_augmentation,
        "images_per_step": step,
        "diverged_epoch": diverged,
        **measure(probabilities, labels, names, task, top_k, loss, label_smoothing),
        "milliseconds_per_image": milliseconds_per_image(predict),
        "validation_accuracy": None
        if diverged is not None
        else held_out_accuracy(prepared, function, test_time_augmentation, step, gflop, max_evaluation_tflop),
        "round_trip_difference": round_trip_difference(inputs, model, prepared),
    }
    files.write_npz(folder / "predictions.npz", ids=ids, labels=labels, probabilities=probabilities)
    files.write_json(folder / "metrics.json", metrics)
    return Evaluation(ids, labels, probabilities, metrics)


def open_evaluation(folder: str | Path) -> Evaluation:
    """What `evaluate` wrote into `folder`."""
    with np.load(Path(folder) / "predictions.npz") as stored:
        arrays = {name: stored[name] for name in ("ids", "labels", "probabilities")}
    return Evaluation(metrics=files.read_json(Path(folder) / "metrics.json"), **arrays)


def number_of_views(test_time_augmentation: str) -> int:
    """How often the network looks at each image."""
    if test_time_augmentation not in VIEWS:
        raise ValueError(f"test_time_augmentation is one of {', '.join(VIEWS)}, not {test_time_augmentation!r}")
    return VIEWS[test_time_augmentation]


def images_to_score(available: int, gflop: float, max_tflop: float | None) -> int:
    """How many of the first test images the budget allows, when each takes `gflop`; at least MINIMUM_IMAGES."""
    if max_tflop is None or gflop <= 0:
        return available
    return min(available, max(MINIMUM_IMAGES, int(max_tflop * 1000 / gflop)))


def images_per_step(evaluation_batch_size: int, gflop: float) -> int:
    """Images that a prediction step takes: as asked, fewer for networks of many GFLOP an image."""
    if evaluation_batch_size < 1:
        raise ValueError(f"evaluation_batch_size must be at least 1, not {evaluation_batch_size}")
    return min(evaluation_batch_size, max(1, int(STEP_GFLOP / gflop))) if gflop > 0 else evaluation_batch_size


def function_of(model: keras.Model) -> Function:
    """The network as a function from images (n, ...) float32 to what it puts out.

    On TensorFlow it is one graph for any number of images, without XLA: faster on a CPU. `predict_on_batch`, which the
    other backends use, would build one anew for one image, for a whole step and for the last one.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda images: np.asarray(model.predict_on_batch(images))
    import tensorflow as tf

    any_number = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    graph = tf.function(lambda images: model(images, training=False), [any_number], jit_compile=False)
    return lambda images: graph(images).numpy()


def predictor(function: Function, view: preprocessing.View, augmentation: str) -> Function:
    """A function from positions (n,) in `view` to probabilities (n, k); one sigmoid unit becomes two columns."""

    def network(images: np.ndarray) -> np.ndarray:
        return two_columns(np.asarray(function(images), np.float32))

    def plain(positions: np.ndarray) -> np.ndarray:
        return network(view.batch(positions))

    def over_views(positions: np.ndarray) -> np.ndarray:
        shares = [(share, network(view.apply(images))) for share, images in mirror_shifts(view.raw(positions))]
        return mean_of_logarithms(shares)

    return over_views if augmentation == "mirror_shifts" else plain


def two_columns(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n, k); the (n, 1) of a sigmoid unit becomes (n, 2): of label 0, of label 1."""
    if probabilities.shape[1] > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], axis=1)


def mirror_shifts(images: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Six views of images (n, h, w, c) and their shares: picture and mirror image (half together), and both shifted
    by one pixel up left and down right, the border mirrored (half together), as the airbench94 record tests.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    shifted = [padded[:, at : at + height, at : at + width] for at in (0, 2)]
    views = [(0.25, images), *((0.125, view) for view in shifted)]
    return [(share, side) for share, view in views for side in (view, view[:, :, ::-1])]


def mean_of_logarithms(shares: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Probabilities (n, k) from the weighted mean of log probabilities: for a softmax, the mean of the logits."""
    logs = sum(share * np.log(np.maximum(each.astype(np.float64), SMALLEST_PROBABILITY)) for share, each in shares)
    powers = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def milliseconds_per_image(predict: Function) -> float:
    """Median time in milliseconds to predict one image alone, from its bytes to its likelihoods."""
    one = np.zeros(1, np.int64)
    predict(one)  # the first call for a shape prepares more than the others
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < LATENCY_RUNS and sum(seconds) < LATENCY_SECONDS):
        start = time.perf_counter()
        predict(one)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1000


def round_trip_difference(
    inputs: Mapping[str, str], model: keras.Model, prepared: preprocessing.Prepared
) -> float | None:
    """The largest distance between the likelihoods of the loaded network and those of the network that was trained.

    The training kept the latter, of its first images; 0 means bit for bit the same. None where nothing was trained,
    or where they are no numbers.
    """
    from bakeoff.lab.training import SAMPLE, sample_predictions

    kept = files.read_npz_if_whole(Path(inputs["train"]) / SAMPLE) if "train" in inputs else {}
    if not kept or not np.isfinite(kept["probabilities"]).all():
        return None
    difference = np.abs(sample_predictions(model, prepared) - kept["probabilities"]).max()
    return float(difference) if np.isfinite(difference) else math.inf


def held_out_accuracy(
    prepared: preprocessing.Prepared,
    function: Function,
    augmentation: str,
    step: int,
    gflop: float,
    max_tflop: float | None,
) -> float | None:
    """Accuracy on held-out training images, as many as the budget allows, with the views of the test.

    None without such images, and without views: the training has measured it then.
    """
    view = prepared.validation
    if augmentation == "none" or view is None or prepared.validation_source != "split":
        return None
    count = images_to_score(len(view), gflop * number_of_views(augmentation), max_tflop)
    predict = predictor(function, view, augmentation)
    right = [predict(chunk).argmax(axis=1) == view.labels[chunk] for chunk in _chunks(count, step)]
    return float(np.concatenate(right).mean())


def _chunks(count: int, step: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + step, count)) for start in range(0, count, step)]


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    task: str,
    top_k: int,
    loss: str,
    label_smoothing: float,
) -> dict[str, Any]:
    """Every number that compares predictions with labels; each is None for labels_only, and without predictions."""
    if task == "labels_only" or not len(labels):
        numbers = ("accuracy_low", "accuracy_high", "test_accuracy", "test_loss", "top_k_accuracy")
        empty = dict.fromkeys(
            (*numbers, "balanced_accuracy", "expected_calibration_error", "loss_name", "label_smoothing")
        )
        return {**empty, "top_k": top_k, "per_class": []}
    correct = probabilities.argmax(axis=1) == labels
    low, high = statistics.wilson_interval(int(correct.sum()), len(labels))
    per_class = class_report(probabilities.argmax(axis=1), labels, names)
    measured = {
        "test_accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "test_loss": loss_of(probabilities, labels, loss, label_smoothing),
        "top_k_accuracy": top_k_accuracy(probabilities, labels, top_k),
        "balanced_accuracy": float(np.mean([row["recall"] for row in per_class if row["support"]])),
        "expected_calibration_error": statistics.expected_calibration_error(probabilities, labels),
    }
    finite = {key: value if value is not None and math.isfinite(value) else None for key, value in measured.items()}
    named = {"loss_name": loss, "label_smoothing": label_smoothing}
    return {**finite, **named, "top_k": top_k, "per_class": per_class}


def class_report(predicted: np.ndarray, labels: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and test images of every class, in the order of the labels; 0 where undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    known = list(range(len(names)))
    columns = precision_recall_fscore_support(labels, predicted, labels=known, zero_division=0.0)
    keys = ("precision", "recall", "f1")
    return [
        {
            "class_name": name,
            **{key: float(value) for key, value in zip(keys, row, strict=False)},
            "support": int(row[3]),
        }
        for name, *row in zip(names, *columns, strict=True)
    ]


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, top_k: int) -> float | None:
    """Share of images whose true class is among the k likeliest; None where k covers every class."""
    if not 1 <= top_k < probabilities.shape[1]:
        return None
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return float((likeliest == labels[:, None]).any(axis=1).mean())


def loss_of(probabilities: np.ndarray, labels: np.ndarray, loss: str, label_smoothing: float) -> float:
    """Mean over the images of the compiled loss, see `losses`."""
    return float(losses(probabilities, labels, loss, label_smoothing).mean())
