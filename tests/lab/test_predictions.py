"""Tests of what the networks predicted: which trainings count, what divides the networks, and their calibration."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from bakeoff.lab import data, differences, files, pairs, predictions, results
from bakeoff.lab.plots import comparison, verdict
from bakeoff.lab.predictions import Predictions
from tests.lab.made import Made, made

NETWORKS = {"a": 1.0, "b": 2.0, "c": 3.0}


def change(stores: Made, folder: str, **arrays: np.ndarray) -> None:
    """Write other predictions into a folder."""
    path = Path(stores.folders[folder]["evaluate"]) / "predictions.npz"
    with np.load(path) as kept:
        old = {name: kept[name] for name in ("ids", "labels", "probabilities")}
    files.write_npz(path, **old | arrays)


def predicted_by(*predicted: list[int], labels: list[int]) -> dict[str, Predictions]:
    """Predictions of networks a, b, ... for images x0, x1, ..., all with a confidence that falls by image."""
    ids = np.array([f"x{at}" for at in range(len(labels))])
    confidence = np.linspace(0.9, 0.5, len(labels))[None]
    return {
        name: Predictions(ids, np.array(labels), np.array([one]), confidence)
        for name, one in zip("abcdef", predicted, strict=False)
    }


def test_predictions_are_of_all_trainings_in_the_order_of_the_ids(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 3})
    with np.load(Path(stores.folders["b"]["evaluate"]) / "predictions.npz") as kept:
        turned = {name: kept[name][::-1] for name in ("ids", "labels", "probabilities")}
    found, predicted, _ = stores.read()
    change(stores, "b", **turned)
    again = predictions.read(found, stores.folders)
    assert list(predicted) == list(found.ranked["variant"]) and predicted["a"].correct.shape == (3, 50)
    assert np.array_equal(again["b"].predicted, predicted["b"].predicted)
    assert again["b"].same_images(predicted["a"])


@pytest.mark.parametrize("folder", ["b", "a-1"])
def test_predictions_that_are_not_those_of_the_accuracy_are_not_used(tmp_path: Path, folder: str) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 2})
    change(stores, folder, probabilities=np.eye(10, dtype=np.float32)[np.zeros(50, int)])
    _, predicted, tests = stores.read()
    assert folder[0] not in predicted and len(predicted) == 2
    alone = tests[tests["test"].isin([differences.ALONE, differences.TRAININGS_ALONE])]
    assert len(alone) == 2 and all(folder[0] in pair for pair in alone["first"] + alone["second"])


def test_a_lost_training_takes_the_predictions_of_its_variant_away(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 2})
    found = results.read(stores.table)
    kept = {name: each for name, each in stores.folders.items() if name != "a-1"}
    assert "a" not in predictions.read(found, kept)
    assert predictions.read(found, {}) == {}


def test_variants_tested_on_other_images_are_paired_among_themselves(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS | {"d": 2.5, "e": 1.5}, images=50)
    for name in "bd":
        change(stores, name, ids=np.array([f"other_{at}" for at in range(50)]))
    _, predicted, tests = stores.read()
    exact = {row.first + row.second for row in tests.itertuples() if row.test == differences.EXACT}
    assert {"".join(sorted(pair)) for pair in exact} == {"ac", "ae", "ce", "bd"}
    assert sorted(predictions.panel(predicted).names) == ["a", "c", "e"]


def test_the_images_that_all_miss_and_that_one_alone_gets_right() -> None:
    panel = predictions.panel(predicted_by([0, 1, 2, 0, 1], [0, 2, 2, 1, 1], [0, 2, 0, 1, 1], labels=[0, 1, 1, 0, 1]))
    assert panel.missed.tolist() == [2] and panel.alone.tolist() == [1, 3] and panel.mistaken.tolist() == [1, 2, 3]
    classes = ["cat", "dog", "fox"]
    assert comparison.titles(panel, panel.missed, classes, "missed") == ["true: dog\n2 × fox\n1 × cat"]
    assert comparison.titles(panel, panel.alone[:1], classes, "alone") == ["true: dog\n✓ a\n2 × fox"]
    assert comparison.titles(panel, panel.mistaken[:1], classes, "mistaken") == ["true: dog\nb\nfox 80.0 %"]


def test_agreement_is_the_share_of_equal_predictions(tmp_path: Path) -> None:
    panel = predictions.panel(made(tmp_path, NETWORKS, images=80).read()[1])
    shares = predictions.agreement(panel)
    for one, other in combinations(range(3), 2):
        expected = accuracy_score(panel.predicted[one], panel.predicted[other])
        assert shares.iloc[one, other] == shares.iloc[other, one] == pytest.approx(expected)


def test_two_networks_that_predict_the_same(tmp_path: Path) -> None:
    stores = made(tmp_path, {"a": 2.0}, images=60)
    rows = stores.table.read_text().splitlines()
    stores.table.write_text("\n".join([*rows, rows[1].replace("a,a,", "b,b,", 1)]) + "\n")
    stores.folders["b"] = stores.folders["a"]
    found, predicted, tests = stores.read()
    row = tests.iloc[0]
    assert (row["difference"], row["p_value"], row["significant"]) == (0, 1, False) and row["low"] < 0 < row["high"]
    letters = pairs.letters(["a", "b"], tests)
    assert comparison.ranking(found, pairs.versus_best(tests), letters)["group"].tolist() == ["a", "a"]
    assert "share the first place" in verdict.answer(found, pairs.versus_best(tests))
    panel = predictions.panel(predicted)
    assert (predictions.agreement(panel) == 1).all(axis=None)
    assert set(comparison.hard_images(panel)) == {"missed", "mistaken"}


def test_everything_right_divides_no_networks_and_has_no_confident_mistake(tmp_path: Path) -> None:
    found, predicted, _ = made(tmp_path, {"a": 90.0, "b": 95.0}, images=30).read()
    assert comparison.hard_images(predictions.panel(predicted)) == {}
    assert predictions.calibration(found, predicted)["confident_mistakes"].tolist() == [0, 0]
    assert comparison.hard_images(predictions.panel({})) == {}


def test_images_are_those_of_their_ids(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=40)
    panel = predictions.panel(stores.read()[1])
    shown, classes = predictions.images(panel, np.array([7, 3]), stores.folders)
    test = data.open_dataset(stores.folders["a"]["load"]).test
    wanted = [test.ids.tolist().index(name) for name in panel.ids[[7, 3]]]
    assert np.array_equal(shown, test.images[wanted]) and len(classes) == 10


def test_calibration_says_who_is_confident_without_being_right(tmp_path: Path) -> None:
    found, predicted, _ = made(tmp_path, NETWORKS, images=200, trainings={"b": 2}).read()
    table = predictions.calibration(found, predicted)
    wrong = predicted["b"].confidence[~predicted["b"].correct]
    assert table.loc["b", "confident_mistakes"] == pytest.approx((wrong > 0.9).mean())
    errors = found.ranked.set_index("variant")["expected_calibration_error"]
    assert table["calibration_error"].to_dict() == errors.to_dict()
    curves = predictions.reliability(predicted)
    assert curves.groupby("variant")["images"].sum().to_dict() == {"a": 200, "b": 400, "c": 200}


def test_probabilities_that_are_not_numbers_have_no_curve() -> None:
    nothing = np.full((1, 4), np.nan)
    broken = {"a": Predictions(np.arange(4).astype(str), np.zeros(4, int), np.zeros((1, 4), int), nothing)}
    assert predictions.reliability(broken)["images"].sum() == 4
    assert predictions.reliability({}).empty
