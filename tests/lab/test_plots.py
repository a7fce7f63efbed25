"""Every figure, table and sentence of the evaluate and compare pages, on the cases that break such things."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import confusion_matrix

from bakeoff.lab import pairs, results
from bakeoff.lab.evaluation import Evaluation
from bakeoff.lab.plots import describe, predictions, verdict
from bakeoff.lab.plots import evaluation as pages
from tests.lab.cells import run_cell
from tests.lab.made import measure

pytestmark = pytest.mark.usefixtures("figures_without_a_screen")


def drawn(figure: Figure) -> Figure:
    """The figure, rendered as the page renders it."""
    figure.canvas.draw()
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def scored(classes: int = 10, images: int = 60, task: str = "classes", seed: int = 0, skill: float = 3.0) -> Evaluation:
    """An evaluation of random predictions that lean towards the truth, with the metrics that evaluate computes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes if task != "labels_only" else 10, images)
    columns = 1000 if task == "labels_only" else classes
    logits = rng.normal(size=(images, columns)) + skill * np.eye(columns)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return measured(labels, probabilities, task=task)


def measured(labels: np.ndarray, probabilities: np.ndarray, task: str = "classes", **more: object) -> Evaluation:
    count = 10 if task == "labels_only" else probabilities.shape[1]
    names = [f"class {at}" for at in range(count)]
    numbers = measure(probabilities, labels, names, task)
    metrics = {"task": task, "dataset": "cifar10", "class_names": names, "weights": "none"}
    metrics |= {"test_images": len(labels), "test_images_available": len(labels), "milliseconds_per_image": 1.25}
    metrics |= {
        "test_time_augmentation": "none",
        "round_trip_difference": 0.0,
        "diverged_epoch": None,
        **numbers,
        **more,
    }
    return Evaluation(np.array([f"test_{at}" for at in range(len(labels))]), labels, probabilities, metrics)


def confusion(scores: Evaluation) -> Figure:
    """The confusion matrix, as the notebook's own cell draws it."""
    return run_cell("6_evaluate", "confusion", {"result": scores, "class_names": scores.class_names})["heatmap"].figure


def confusion_words(scores: Evaluation) -> str:
    return pages.confusion_words(confusion_matrix(scores.labels, scores.predicted), scores.class_names)


def random_images(images: int, channels: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (images, side, side, channels)).astype(np.uint8)


@pytest.mark.parametrize("classes", [2, 10, 40, 130])
def test_every_evaluation_figure_bears_any_number_of_classes(classes: int) -> None:
    scores = scored(classes, task="binary" if classes == 2 else "classes")
    positions = predictions.telling_positions(scores)
    for figure in (
        confusion(scores),
        pages.reliability(scores),
        predictions.image_grid(scores, random_images(25)),
        predictions.examples(scores, positions, random_images(len(positions))),
    ):
        width, height = drawn(figure).get_size_inches()
        assert width <= 11 and height <= 12
    assert len(scores.metrics["per_class"]) == classes


def test_counts_are_written_into_small_confusion_matrices_only() -> None:
    scores = scored(10)
    counts = confusion_matrix(scores.labels, scores.predicted, labels=range(10))
    assert texts(confusion(scores)) == [str(n) for n in counts.ravel()]
    assert texts(confusion(scored(40))) == []


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    scores = measured(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32))
    assert texts(confusion(scores)) == ["1", "1", "0", "1"]
    assert confusion_words(scores) == "Most frequent confusion, in images: class 0 predicted as class 1 (1)."


def test_of_many_classes_some_ticks_have_no_name_and_a_name_is_no_formula() -> None:
    assert sum(map(bool, pages.tick_labels([f"class {at}" for at in range(130)]))) == 44
    assert pages.tick_labels(["$x$"]) == [r"\$x\$"]


def test_a_class_that_is_never_predicted_is_named() -> None:
    probabilities = np.tile(np.array([0.6, 0.4, 0.0], np.float32), (9, 1))
    scores = measured(np.arange(9) % 3, probabilities)
    assert "Never predicted: class 1 and class 2" in pages.class_words(scores)
    assert "most frequent class would score 33.3 %" in pages.headline(scores)
    drawn(confusion(scores))


def test_everything_right_and_everything_wrong() -> None:
    sure = np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    right, wrong = measured(np.arange(9) % 3, sure), measured((np.arange(9) + 1) % 3, sure)
    assert predictions.confident_mistakes_words(right) == "No test image was predicted wrong."
    assert confusion_words(right) == "No test image was confused with another class."
    assert "Of 9 wrong predictions, 9" in predictions.confident_mistakes_words(wrong)
    assert "overconfident" in pages.calibration_words(wrong)
    for scores in (right, wrong):
        assert len(predictions.telling_positions(scores)) >= 3
        drawn(pages.reliability(scores))


def test_probabilities_that_are_not_numbers_are_called_diverged() -> None:
    scores = measured(np.arange(6) % 3, np.full((6, 3), np.nan, np.float32))
    assert "diverged" in pages.calibration_words(scores)
    drawn(pages.reliability(scores))
    drawn(predictions.examples(scores, np.arange(2), random_images(2)))


def test_telling_images_are_right_wrong_and_confidently_wrong() -> None:
    scores = scored(images=200, skill=1.5)
    positions = predictions.telling_positions(scores, right=3, wrong=2, confident=3)
    assert len(set(positions)) == 8 and scores.correct[positions].tolist() == [True] * 3 + [False] * 5
    assert scores.confidence[positions[-3:]].min() >= scores.confidence[positions[3:5]].max()


def test_an_example_stands_below_its_true_class_and_the_three_likeliest() -> None:
    scores = measured(np.array([0, 1]), np.array([[0.3, 0.6, 0.1], [0.1, 0.9, 0.0]], np.float32))
    axes = predictions.examples(scores, np.array([0, 1]), random_images(2)).axes[0]
    titles = {text.get_text(): matplotlib.colors.to_hex(text.get_color()).upper() for text in axes.texts}
    wrong, right = ("true: class 0", "✗ class 1 60.0 %", "class 0 30.0 %", "class 2 10.0 %"), "true: class 1"
    assert titles["\n".join(wrong)] == pages.WRONG
    assert [color for title, color in titles.items() if title.startswith(right)] == [pages.RIGHT]
    words = predictions.examples_words(scores, [0])
    assert words.endswith("class 0: class 1 60.0 %, class 0 30.0 %, class 2 10.0 %.")


@pytest.mark.parametrize(("classes", "columns"), [(3, 5), (40, 3)])
def test_rows_of_probabilities_stand_beside_the_true_labels(classes: int, columns: int) -> None:
    scores = scored(classes)
    rows = predictions.probability_rows(scores)
    assert rows.shape == (8, columns)
    assert rows["true class"].tolist() == [f"class {label}" for label in scores.labels[:8]]


def test_one_image_and_one_gray_channel() -> None:
    scores = scored(3, images=1)
    drawn(predictions.image_grid(scores, random_images(1, channels=1, side=28)))
    drawn(predictions.examples(scores, np.array([0]), random_images(1, channels=1, side=28)))


def test_labels_only_has_labels_and_says_that_there_is_nothing_to_measure() -> None:
    scores = scored(task="labels_only")
    assert not scores.measured and "nothing to measure" in pages.headline(scores)
    assert len(predictions.telling_positions(scores)) == 8
    assert predictions.examples_words(scores, [0], most=9).count("%") == 9
    figure = drawn(predictions.examples(scores, np.arange(8), random_images(8), most=9))
    assert all(text.count("%") == 9 and "✗" not in text for text in texts(figure))


def test_imagenet_names_come_from_the_keras_cache_or_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert predictions.imagenet_names(2) == ["class 0", "class 1"]
    (tmp_path / "models").mkdir()
    index = tmp_path / "models" / "imagenet_class_index.json"
    index.write_text('{"0": ["n1", "great_white"], "1": ["n2", "tench"]}')
    assert predictions.imagenet_names(2) == ["great white", "tench"]
    index.write_text('{"0": ["n1"')
    assert predictions.imagenet_names(2) == ["class 0", "class 1"]


def test_measures_stand_beside_the_sources_figures() -> None:
    scores = scored()
    assert list(pages.measures(scores, {}).columns) == ["measure", "here"]
    table = pages.measures(scores, {"test_accuracy": 0.5, "parameters": 7})
    assert table["source"].tolist().count("") == len(table) - 1
    assert list(table.columns) == ["measure", "here", "source"], "no difference: the audit alone may compare"
    scores.metrics["validation_accuracy"] = 0.1825
    assert "0.1825" in pages.measures(scores, {})["here"].tolist()


def test_headline_says_what_to_doubt() -> None:
    scores = scored()
    assert "synthetic" not in pages.headline(scores)
    scores.metrics.update(weights="random", test_images_available=1000, dataset="shapes10")
    assert "synthetic fallback data set" in pages.headline(scores)
    assert "random weights in place of ImageNet's" in pages.headline(scores)
    assert "Only the first 60 of 1000 test images" in pages.headline(scores)
    assert "balanced accuracy" in pages.headline(scored(2, task="binary"))


def test_storage_words_follow_the_round_trip() -> None:
    words = []
    for outcome in (0.0, 0.2, None, 1e-7):
        scores = scored()
        scores.metrics["round_trip_difference"] = outcome
        words.append(pages.speed_and_storage_words(scores))
    assert "bit for bit" in words[0] and "other probabilities" in words[1] and "not trained here" in words[2]
    assert "but for rounding" in words[3]
    assert all("1.2 ms" in text for text in words)


ODD = "a_name_of_some_length"
KINDS = {"one": 1, "two": 2, "none ranked": 0, "twenty-five": 25}


def compared(count: int) -> results.Results:
    """Results of `count` ranked variants, one that is not, and one that failed."""
    rng = np.random.default_rng(count)
    frame = pd.DataFrame({"variant": [f"{ODD}_{k}" for k in range(count + 2)], "status": "ok", "task": "classes"})
    frame = frame.assign(dataset="cifar10", weights="none", test_images=1000, limited="", train_seconds=9.0)
    frame["test_accuracy"] = np.sort(rng.random(count + 2))
    frame["parameters"] = 10 ** (4 + 3 * rng.random(count + 2))
    frame["train_accuracy"] = 1.0
    frame.loc[0, "weights"] = "random"
    frame.loc[1, ["status", "test_accuracy"]] = ["failed", np.nan]
    return results.split_by_status(results.complete(frame))


@pytest.mark.parametrize("count", KINDS.values(), ids=KINDS.keys())
def test_the_comparison_bears_any_number_of_ranked_variants(count: int) -> None:
    found = compared(count)
    names, tests = list(found.ranked["variant"]), pairs.pairwise_tests(found, {})
    versus, letters = pairs.versus_best(tests), pairs.letters(names, tests)
    space = {"found": found, "ranked": found.ranked, "names": names, "tests": tests, "versus": versus}
    space |= {"letters": letters, "percents": PercentFormatter(1), "page": Shown()}
    for cell in ("answer", "ranking", "unranked", "pairs", "cost", "gaps", "overrides"):
        space = run_cell("7_compare", cell, space)
    figures = space["page"].figures
    for figure in figures:
        width, height = drawn(figure).get_size_inches()
        assert width <= 7.5 and height <= 9
    assert len(figures) == (0 if count == 0 else 4 if count == 1 else 5)


class Shown:
    """Takes the place of `page`: keeps what a cell shows."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def show(self, figure: Figure, caption: str, alt: str, vector: bool = False) -> None:
        assert caption and "nan" not in alt
        self.figures.append(figure)

    def table(self, frame: pd.DataFrame, caption: str) -> None:
        assert caption and len(frame) and not frame.isna().any().any()

    def say(self, words: str) -> None:
        assert words


def test_results_without_columns_or_rows_have_no_winner() -> None:
    nothing = pd.DataFrame({"variant": [], "status": []})
    for frame in (pd.DataFrame({"variant": ["a"], "status": ["ok"]}), nothing):
        found = results.split_by_status(results.complete(frame))
        assert "There is no" in verdict.answer(found, pairs.versus_best(pairs.pairwise_tests(found, {})))


def test_alternative_texts_are_written_from_the_data() -> None:
    frame = pd.DataFrame({"name": ["a", "b", "a"], "x": [1, 2, 3], "y": [0.5, 0.9, 0.7]})
    assert describe.bars(pd.Series({"a": 1, "$b": 2.5})) == "a 1 and \\$b 2.5."
    assert (
        describe.points(frame, "name", "x", "y")
        == "3 points of x and y: from a (1, 0.5) to a (3, 0.7); highest b (2, 0.9)."
    )
    assert describe.curves(frame, "name", "x", "y").endswith("last values: a 0.7 and b 0.9.")
    matrix = frame.set_index("name")[["x", "y"]]
    assert (
        describe.matrix(matrix) == "3 rows, 2 columns; largest 3 in row a, column x; smallest 0.5 in row a, column y."
    )
    for words in (describe.bars(pd.Series(dtype=float)), describe.points(frame[:0], "name", "x", "y")):
        assert words == "It is empty."
    assert describe.matrix(matrix * np.nan) == "It is empty."
