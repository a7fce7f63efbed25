"""Tests of what the networks answered: which trainings count, what divides them, and the figures and words of it."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from bakeoff.lab import answers, data, differences, files, pairs, results
from bakeoff.lab.answers import Answers
from bakeoff.lab.plots import answer_figures, comparison, pair_figures, verdict
from tests.lab.made import Made, made

NETWORKS = {"a": 1.0, "b": 2.0, "c": 3.0}


pytestmark = pytest.mark.usefixtures("pictures_without_a_screen")


def change(stores: Made, folder: str, **arrays: np.ndarray) -> None:
    """Write other predictions into a folder."""
    path = Path(stores.folders[folder]["evaluate"]) / "predictions.npz"
    with np.load(path) as kept:
        old = {name: kept[name] for name in ("ids", "labels", "probabilities")}
    files.write_npz(path, **old | arrays)


def said_by(*said: list[int], labels: list[int]) -> dict[str, Answers]:
    """Answers of networks a, b, ... to images x0, x1, ..., all with likelihoods that fall by image."""
    ids = np.array([f"x{at}" for at in range(len(labels))])
    sure = np.linspace(0.9, 0.5, len(labels))[None]
    return {
        name: Answers(ids, np.array(labels), np.array([one]), sure) for name, one in zip("abcdef", said, strict=False)
    }


def test_answers_are_of_all_trainings_in_the_order_of_the_ids(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 3})
    with np.load(Path(stores.folders["b"]["evaluate"]) / "predictions.npz") as kept:
        turned = {name: kept[name][::-1] for name in ("ids", "labels", "probabilities")}
    found, said, _ = stores.read()
    change(stores, "b", **turned)
    again = answers.read(found, stores.folders)
    assert list(said) == list(found.ranked["variant"]) and said["a"].correct.shape == (3, 50)
    assert np.array_equal(again["b"].said, said["b"].said) and again["b"].same_images(said["a"])


@pytest.mark.parametrize("folder", ["b", "a-1"])
def test_predictions_that_are_not_those_of_the_accuracy_are_not_used(tmp_path: Path, folder: str) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 2})
    change(stores, folder, probabilities=np.eye(10, dtype=np.float32)[np.zeros(50, int)])
    found, said, table = stores.read()
    variant = folder[0]
    assert variant not in said and len(said) == 2
    assert f"behind the accuracy of `{variant}` are not stored" in pair_figures.doubts(found, table, said)
    assert f"on the same images: `{variant}`" in answer_figures.agreement_words(answers.panel(said), found)


def test_a_lost_training_takes_the_answers_of_its_variant_away(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=50, trainings={"a": 2})
    found = results.read(stores.table)
    assert "a" not in answers.read(found, {name: each for name, each in stores.folders.items() if name != "a-1"})
    assert answers.read(found, {}) == {}


def test_variants_tested_on_other_images_are_paired_among_themselves(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS | {"d": 2.5, "e": 1.5}, images=50)
    for name in "bd":
        change(stores, name, ids=np.array([f"other_{at}" for at in range(50)]))
    found, said, table = stores.read()
    exact = {row.first + row.second for row in table.itertuples() if row.test == differences.EXACT}
    assert {"".join(sorted(pair)) for pair in exact} == {"ac", "ae", "ce", "bd"}
    together = answers.panel(said)
    assert sorted(together.names) == ["a", "c", "e"]
    assert "`b`" in answer_figures.agreement_words(together, found).split("on the same images")[1]
    assert "not on the same images" in pair_figures.doubts(found, table, said)


def test_the_images_that_all_miss_and_that_one_alone_gets_right() -> None:
    panel = answers.panel(said_by([0, 1, 2, 0, 1], [0, 2, 2, 1, 1], [0, 2, 0, 1, 1], labels=[0, 1, 1, 0, 1]))
    assert panel.missed.tolist() == [2] and panel.alone.tolist() == [1, 3] and panel.mistaken.tolist() == [1, 2, 3]
    classes = ["cat", "dog", "fox"]
    assert answer_figures.titles(panel, panel.missed, classes, "missed") == ["true: dog\n2 × fox\n1 × cat"]
    assert answer_figures.titles(panel, panel.alone[:1], classes, "alone") == ["true: dog\n✓ a\n2 × fox"]
    assert answer_figures.titles(panel, panel.mistaken[:1], classes, "mistaken") == ["true: dog\nb\nfox 80.0 %"]


def test_words_count_the_images_that_divide_the_networks(tmp_path: Path) -> None:
    found = made(tmp_path, {"a": 2.0, "b": 1.0}, images=20).read()[0]
    words = answer_figures.agreement_words(
        answers.panel(said_by([0, 0, 1, 1], [0, 1, 1, 1], labels=[0, 0, 0, 0])), found
    )
    assert "Of 4 test images, 1 were predicted right by all 2 variants, 2 by none, and 1 by one alone" in words
    assert "most of them by `a` (1)" in words and "`a` and `b`, with 75.0 % equal answers." in words
    alone = answer_figures.agreement_words(answers.panel(said_by([0], labels=[0])), found)
    assert "no two ranked variants" in alone and "`b`" in alone


def test_agreement_is_the_share_of_equal_answers(tmp_path: Path) -> None:
    panel = answers.panel(made(tmp_path, NETWORKS, images=80).read()[1])
    shares = answer_figures.agreement(panel)
    for one, other in combinations(range(3), 2):
        expected = accuracy_score(panel.said[one], panel.said[other])
        assert shares.iloc[one, other] == shares.iloc[other, one] == pytest.approx(expected)


def test_two_networks_that_answer_the_same(tmp_path: Path) -> None:
    stores = made(tmp_path, {"a": 2.0}, images=60)
    rows = stores.table.read_text().splitlines()
    stores.table.write_text("\n".join([*rows, rows[1].replace("a,a,", "b,b,", 1)]) + "\n")
    stores.folders["b"] = stores.folders["a"]
    found, said, table = stores.read()
    row = table.iloc[0]
    assert (row["difference"], row["p_value"], row["told_apart"]) == (0, 1, False) and row["low"] < 0 < row["high"]
    letters = pairs.letters(["a", "b"], table)
    assert comparison.ranking(found, pairs.against_best(table), letters)["group"].tolist() == ["a", "a"]
    assert "share the first place" in verdict.answer(found, pairs.against_best(table))
    together = answers.panel(said)
    assert "100.0 % equal answers" in answer_figures.agreement_words(together, found)
    assert set(answer_figures.telling(together)) == {"missed", "mistaken"}
    for figure in (
        pair_figures.differences(table, ["a", "b"]),
        answer_figures.agreement_map(answer_figures.agreement(together)),
    ):
        figure.canvas.draw()


def test_everything_right_has_no_telling_pictures_and_no_surest_mistake(tmp_path: Path) -> None:
    found, said, _ = made(tmp_path, {"a": 90.0, "b": 95.0}, images=30).read()
    assert answer_figures.telling(answers.panel(said)) == {}
    assert answer_figures.calibration(found, said)["surest wrong answer"].tolist() == ["none", "none"]


def test_pictures_are_those_of_their_ids(tmp_path: Path) -> None:
    stores = made(tmp_path, NETWORKS, images=40)
    panel = answers.panel(stores.read()[1])
    shown, classes = answers.pictures(panel, np.array([7, 3]), stores.folders)
    test = data.open_dataset(stores.folders["a"]["load"]).test
    wanted = [test.ids.tolist().index(name) for name in panel.ids[[7, 3]]]
    assert np.array_equal(shown, test.images[wanted]) and len(classes) == 10


def test_calibration_says_who_is_surest_without_being_right(tmp_path: Path) -> None:
    found, said, _ = made(tmp_path, NETWORKS, images=200, trainings={"b": 2}).read()
    table = answer_figures.calibration(found, said).set_index("variant")
    wrong = said["b"].confidence[~said["b"].correct]
    assert table.loc["b", "surest wrong answer"] == f"{100 * wrong.max():.1f} %"
    assert table.loc["b", "wrong answers above 90 %"] == f"{100 * (wrong > 0.9).mean():.1f} %"
    errors = found.ranked.set_index("variant")["expected_calibration_error"]
    assert table["calibration error"].to_dict() == {name: f"{error:.3f}" for name, error in errors.items()}
    assert f"worst: `{errors.idxmax()}`" in answer_figures.calibration_words(found, said)


def test_networks_without_numbers_and_without_answers(tmp_path: Path) -> None:
    stores = made(tmp_path, {"a": 2.0}, images=20)
    change(stores, "a", probabilities=np.full((20, 10), np.nan, np.float32))
    text = stores.table.read_text().splitlines()
    columns, values = text[0].split(","), text[1].split(",")
    values[columns.index("test_accuracy")] = "0.1"  # the share of the first class, which an argmax of nothing names
    values[columns.index("expected_calibration_error")] = ""
    stores.table.write_text(f"{text[0]}\n{','.join(values)}\n")
    found, said, _ = stores.read()
    assert list(said) == ["a"]
    answer_figures.reliability(found, said).canvas.draw()
    assert answer_figures.calibration(found, said)["calibration error"].tolist() == ["not measured"]
    assert "No ranked variant has" in answer_figures.calibration_words(found, said)
    assert "no two ranked" in answer_figures.agreement_words(answers.panel({}), found)
    assert answer_figures.telling(answers.panel({})) == {}


@pytest.mark.parametrize("networks", [1, 3, 22])
def test_figures_of_any_number_of_networks_are_legible(tmp_path: Path, networks: int) -> None:
    names = [f"augmented_inceptionv3_no{at}" for at in range(networks)]
    found, said, table = made(tmp_path, {name: 1 + at / 8 for at, name in enumerate(names)}, images=60).read()
    panel = answers.panel(said)
    shown = [answer_figures.reliability(found, said)]
    if networks > 1:
        shown += [
            pair_figures.differences(table, list(said)),
            answer_figures.agreement_map(answer_figures.agreement(panel)),
        ]
    for figure in shown:
        figure.canvas.draw()
        width, height = figure.get_size_inches()
        assert width <= 11 and height <= 9
        sizes = [text.get_fontsize() for axes in figure.axes for text in (*axes.texts, axes.title)]
        assert min(sizes) >= 6
