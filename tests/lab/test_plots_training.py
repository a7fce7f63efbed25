"""The train and search pages' figures, tables and sentences, for usual and for odd results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from bakeoff.lab.overfitting import overfits
from bakeoff.lab.plots import search as search_figures
from bakeoff.lab.plots import training as figures
from bakeoff.lab.search import PROBLEM, SCORES, Search, list_space
from bakeoff.lab.training import Training, best_epoch
from bakeoff.lab.training.history import COLUMNS


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def made(
    train: list[float], validation: list[float] | None, losses: list[float] | None = None, **summary: Any
) -> Training:
    rows = [
        [number, accuracy, 1.5 - accuracy, None, None, 2.0, 0.001] for number, accuracy in enumerate(train, start=1)
    ]
    history = pd.DataFrame(rows, columns=list(COLUMNS))
    if validation:
        history["validation_accuracy"] = validation
        history["validation_loss"] = losses or [2 - value for value in validation]
    facts: dict[str, Any] = {
        "epochs": len(train),
        "epochs_planned": len(train),
        "diverged_epoch": None,
        "train_images": 800,
        "train_images_available": 1000,
        "validation_images": 200 if validation else 0,
        "validation_source": "split" if validation else "none",
        "optimizer_steps": 500,
        "batch_size": 32,
        "train_accuracy": train[-1] if train else None,
        "train_loss": 1.5 - train[-1] if train else None,
        "validation_accuracy": validation[-1] if validation else None,
        "best_epoch": best_epoch(history),
        "train_seconds": 61.0,
        "images_per_second": 3900.0,
    }
    return Training(history, facts | summary)


def test_a_training_that_overfits_is_said_to() -> None:
    result = made([0.5, 0.7, 0.9], [0.5, 0.65, 0.6], losses=[1.4, 1.2, 1.6])
    assert "epoch 2 of 3 was the best, with 65.0 %" in figures.outcome(result)
    assert "30.0 points above the validation accuracy" in figures.overfitting(result)
    assert "since epoch 2 its validation loss has not been lower" in figures.overfitting(result)
    assert "from 50.0 % to 90.0 % in 3 epochs" in figures.describe_curves(result)


def test_a_training_that_does_not_overfit_is_not_said_to() -> None:
    assert "does not overfit" in figures.overfitting(made([0.5, 0.62], [0.5, 0.6]))
    assert "10.0 points **above** the training" in figures.overfitting(made([0.5, 0.5], [0.5, 0.6]))
    assert "Without validation images" in figures.overfitting(made([0.5], None))
    unseen = made([0.5, 0.9], [0.5, 0.0], unseen_classes={"validation": ["frog"]})
    assert "says nothing about overfitting" in figures.overfitting(unseen)


@pytest.mark.parametrize("train", [0.65, 0.66, 0.9])
def test_after_few_steps_nothing_is_said_to_overfit_or_not_to(train: float) -> None:
    words = figures.overfitting(made([train], [0.6], optimizer_steps=51))
    assert "fewer than 300 steps that says nothing about overfitting" in words
    assert "overfits" not in words and "does not overfit" not in words


@pytest.mark.parametrize(("train", "says"), [(0.652, "the network overfits"), (0.649, "does not overfit")])
def test_the_page_overfits_where_the_audit_does(train: float, says: str) -> None:
    assert says in figures.overfitting(made([train], [0.6]))
    assert overfits(train, 0.6, 500) == (says == "the network overfits")


def test_a_gap_is_the_difference_of_the_accuracies_as_they_are_printed() -> None:
    result = made([0.1264], [0.1186])  # 12.6 and 11.9 %, 0.78 points apart
    assert "12.6 %" in figures.outcome(result) and "11.9 %" in figures.outcome(result)
    assert "0.7 points above" in figures.overfitting(result)


def test_images_a_second_follow_from_the_seconds_beside_them() -> None:
    words = figures.outcome(made([0.5, 0.6], None, train_images=100, optimizer_steps=8, train_seconds=50.0))
    assert "It took 50 s: 4 training images a second, all told." in words  # 200 images


def test_epochs_that_leave_images_out_are_no_passes() -> None:
    few = {"train_images": 1360, "train_images_available": 1360, "batch_size": 1024, "optimizer_steps": 3}
    words = figures.images_used(made([0.1, 0.1, 0.2], None, **few))
    assert "only full batches are used, so the steps saw 3 072 images rather than 4 080" in words
    assert "the last epoch is cut to 40 %" in figures.images_used(made([0.1] * 3, None, **few, last_epoch_share=0.4))
    assert "no whole passes" not in figures.images_used(made([0.1] * 3, None, train_images=800, optimizer_steps=75))


def test_the_last_epoch_may_be_the_best() -> None:
    assert "so more epochs might still help" in figures.outcome(made([0.5, 0.6], [0.5, 0.6]))
    assert "none of its 3 epochs was better than the last" in figures.outcome(made([0.5, 0.6, 0.7], [0.5, 0.6, 0.6]))
    assert "one epoch only" in figures.outcome(made([0.5], None))


def test_limits_and_leaks_are_named() -> None:
    assert "the first of 1000" in figures.images_used(made([0.5], None))
    leak = made([0.5], [0.5], validation_source="test", optimizer_steps=20)
    assert "of the test set**: a leak" in figures.images_used(leak)
    assert "Fewer than 300 steps" in figures.images_used(leak)


def test_a_network_that_is_not_trained_is_said_not_to_be() -> None:
    result = made([], None)
    for sentence in (figures.outcome(result), figures.images_used(result), figures.describe_curves(result)):
        assert sentence.lower().startswith(("nothing was trained", "no image is trained", "no curves"))
    assert len(figures.curves(result).axes) == 1


def test_a_diverged_training_is_said_to_have_diverged() -> None:
    result = made([0.5, 0.1], None, diverged_epoch=2)
    result.history.loc[1, "train_loss"] = float("nan")
    assert "diverged" in figures.outcome(result)
    assert figures.curves(result).axes


def test_a_changing_learning_rate_has_a_panel() -> None:
    result = made([0.5, 0.6], [0.5, 0.6])
    assert len(figures.curves(result).axes) == 2
    result.history["learning_rate"] = [0.001, 0.0005]
    assert len(figures.curves(result).axes) == 3


def test_the_sources_figures_stand_beside_ours() -> None:
    result = made([0.5, 0.75], None)
    frame = figures.beside_published(result, {"train_accuracy": 0.795, "parameters": 10, "validation_accuracy": 0.7})
    assert frame["figure"].tolist() == ["training accuracy, last epoch", "validation accuracy, last epoch"]
    assert frame["here"].iloc[0] == 0.75 and pd.isna(frame["here"].iloc[1])
    assert list(frame.columns) == ["figure", "source", "here"], "no difference: the audit alone may compare"
    words = figures.compare_with_published(result, {"train_accuracy": 0.795, "train_seconds": 2.45})
    assert "prints 2 figures" in words and "points" not in words
    assert figures.beside_published(result, {}).empty
    assert "no figure" in figures.compare_with_published(result, {})


def found(space: dict[str, list[Any]], rows: list[list[Any]], test: bool = True) -> Search:
    frame = pd.DataFrame(
        [[number, *row, row[-1] if test else None, 0.9, 1000, 2.0, None] for number, row in enumerate(rows, start=1)],
        columns=["trial", *space, *SCORES, PROBLEM],
    )
    best = frame.iloc[int(frame["validation_accuracy"].argmax())]
    facts = {
        "values": {name: best[name] for name in space},
        "trial": int(best["trial"]),
        "validation_accuracy": best["validation_accuracy"],
        "train_images": 80,
        "validation_images": 20,
        "test_images": 30 if test else 0,
        "optimizer_steps": 3,
        "space": space,
        "points_failed": 0,
    }
    return Search(frame, facts)


SPACES = {
    "two trials": found({"units": [8, 16, 32], "optimizer": ["adam", "sgd"]}, [[8, "sgd", 0.4], [32, "adam", 0.5]]),
    "one trial": found({"units": [8, 16], "l1": [0.001, 0.01]}, [[8, 0.01, 0.4]], test=False),
    "one name": found({"units": [8, 16]}, [[8, 0.4], [16, 0.4]]),
    "one value": found({"units": [8]}, [[8, 0.4]]),
    "one name, many digits": found({"units": [8, 16]}, [[8, 0.11666666716337204], [16, 0.15000000596046448]]),
    "many values": found({"units": list(range(32, 129, 4)), "k": [3, 5]}, [[32, 3, 0.1], [128, 5, 0.7], [64, 3, 0.2]]),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_search_of_any_size_is_drawn(name: str) -> None:
    result = SPACES[name]
    names = len(result.names)
    lines = search_figures.parallel_coordinates(result).axes[0].lines
    assert len(lines) >= len(result.trials)
    panels = search_figures.scatter_matrix(result).axes
    assert sum(bool(axes.collections) for axes in panels) >= names * (names + 1) // 2
    numbers = [float(each.get_text()) for each in search_figures.heat_map(result).axes[0].texts if each.get_text()]
    assert max(numbers) <= 100 * result.scored["validation_accuracy"].max() + 0.05
    assert "Mean validation accuracies by" in search_figures.describe_heat_map(result)
    assert str(len(result.trials)) in search_figures.describe_parallel_coordinates(result)
    assert len(search_figures.trials(result)) == len(result.trials)
    assert search_figures.effects(result)["trials"].sum() == names * len(result.trials)


def test_the_test_column_is_named_a_leak_where_there_is_one() -> None:
    assert "test accuracy (a leak)" in search_figures.trials(SPACES["two trials"])
    assert "leak" in search_figures.images_used(SPACES["two trials"])
    assert "leak" not in search_figures.images_used(SPACES["one trial"])
    assert "test accuracy (a leak)" not in search_figures.trials(SPACES["one trial"])


def test_the_best_trial_is_said_with_its_values() -> None:
    result = SPACES["two trials"]
    assert "units **32**, optimizer **adam**" in search_figures.found(result)
    assert "within sampling error" in search_figures.found(result)
    assert search_figures.best(result)["best"].tolist() == ["32", "adam"]
    assert search_figures.best(result)["values"].tolist() == ["8, 16, 32", "adam, sgd"]
    assert "the only one" in search_figures.found(SPACES["one value"])
    strange = found({"<b>": ["a*b", "$x$"]}, [["a*b", 0.5], ["$x$", 0.1]])
    assert r"\<b\> **a\*b**" in search_figures.found(strange)
    assert r"\<b\> a\*b" in search_figures.describe_parallel_coordinates(strange)


def test_the_plan_counts_the_points() -> None:
    space = list_space({"units": {"min": 32, "max": 128, "step": 16}, "kernel": [3, 5]})
    assert search_figures.space(space)["how many"].tolist() == [7, 2]
    assert "14 points" in search_figures.plan("tuner", space, 5, 3) and "tries 5" in search_figures.plan(
        "tuner", space, 5, 3
    )
    assert "tries every one" in search_figures.plan("grid", space, 14, 1)


def test_the_lead_of_the_best_is_held_against_the_errors_of_both_accuracies() -> None:
    # 1 000 images would do it; of 20, an accuracy of 0.5 has a standard error of 0.112, the difference of two 0.158.
    for other, chance in ((0.25, True), (0.1, False)):
        result = found({"units": [8, 16]}, [[8, 0.5], [16, other]])
        assert ("within sampling error" in search_figures.found(result)) == chance
    assert "some 6.6 points above" in search_figures.found(found({"units": [8, 16]}, [[8, 0.5], [16, 0.5]]))
    assert search_figures.expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert search_figures.expected_maximum(144) == pytest.approx(2.62, abs=0.03)
