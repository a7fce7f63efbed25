"""Tests of pairs and groups: against published examples, libraries, and made data whose truth is known."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bakeoff.lab import differences, pairs, results
from tests.lab.made import made


def pair(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images two networks got right, from the four counts."""
    counts = (both, only_first, only_second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_paired_difference_gives_newcombes_published_example() -> None:
    """Newcombe 1998, table III: 36, 12, 2, 0 of 50 by method 10."""
    result = differences.paired_difference(*pair(36, 12, 2, 0))
    assert (result.difference, result.low, result.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)


def test_paired_difference_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, hits, runs = 0.05, 0, 300
    for _ in range(runs):
        hard = rng.random(400)
        first, second = hard < 0.75, (hard < 0.65) | (hard > 0.95)
        result = differences.paired_difference(first, second)
        hits += result.low <= truth <= result.high
    assert 0.91 < hits / runs < 0.985


def test_paired_difference_p_value_is_mcnemars() -> None:
    assert differences.paired_difference(*pair(50, 8, 2, 40)).p_value == pytest.approx(0.109375)
    assert differences.paired_difference(*pair(50, 5, 5, 40)).p_value == 1.0


def test_two_identical_networks_do_not_differ() -> None:
    first, _ = pair(30, 0, 0, 10)
    result = differences.paired_difference(first, first)
    assert result.difference == 0 and result.p_value == 1 and result.low <= 0 <= result.high


def test_swapping_a_pair_swaps_its_interval() -> None:
    first, second = pair(30, 12, 3, 10)
    one, other = differences.paired_difference(first, second), differences.paired_difference(second, first)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_paired_difference_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        differences.paired_difference(np.ones(3, bool), np.ones(4, bool))


def test_unpaired_interval_is_wider_than_the_paired_one() -> None:
    first, second = pair(300, 40, 20, 40)
    paired = differences.paired_difference(first, second)
    unpaired = differences.unpaired_difference(first.mean(), second.mean(), len(first))
    assert unpaired.high - unpaired.low > paired.high - paired.low
    assert unpaired.difference == pytest.approx(paired.difference) and unpaired.p_value > paired.p_value


@pytest.mark.parametrize("accuracies", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_unpaired_difference_bears_the_extremes(accuracies: tuple[float, float]) -> None:
    result = differences.unpaired_difference(*accuracies, 50)
    assert result.low <= result.difference <= result.high and 0 <= result.p_value <= 1


def test_holm_multiplies_the_smallest_by_the_number_of_tests() -> None:
    assert pairs.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert pairs.holm(np.array([])).size == 0


@pytest.mark.parametrize(("table", "p_value"), [((1, 1, 7, 12), 0.0703), ((59, 6, 16, 80), 0.0525)])
def test_p_value_of_published_tables(table: tuple[int, int, int, int], p_value: float) -> None:
    """M. W. Fagerland, S. Lydersen and P. Laake, "The McNemar test for binary matched-pairs data" (BMC Medical Research
    Methodology, 2013): the exact conditional test on the data of Bentur et al. (2009) and of Cavo et al. (2012).
    """
    assert differences.paired_difference(*pair(*table)).p_value == pytest.approx(p_value, abs=5e-5)


def test_p_value_is_scipys_binomial_test_of_the_images_that_divide_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.random((2, 60)) < 0.6
        only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
        expected = stats.binomtest(only_first, only_first + only_second).pvalue
        assert differences.paired_difference(first, second).p_value == pytest.approx(expected)


def test_holm_gives_the_worked_example() -> None:
    """The example of Wikipedia's article "Holm-Bonferroni method": the first and the last are rejected."""
    assert pairs.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_trainings_alone_are_welchs_test_and_images_alone_the_paired_t_test() -> None:
    first, second = np.array([0.71, 0.73, 0.70]), np.array([0.68, 0.69, 0.66, 0.69])
    found, welch = (
        differences.trainings_difference(first, second, 0.0, 1000),
        stats.ttest_ind(first, second, equal_var=False),
    )
    interval = welch.confidence_interval()
    assert (found.p_value, found.low, found.high) == pytest.approx((welch.pvalue, interval.low, interval.high))
    by_image = np.random.default_rng(0).normal(0.05, 1, 300)
    same = np.full(2, by_image.mean())
    found, images = (
        differences.trainings_difference(same, np.zeros(2), by_image.var(ddof=1) / 300, 300),
        stats.ttest_1samp(by_image, 0),
    )
    assert (found.p_value, found.low) == pytest.approx((images.pvalue, images.confidence_interval().low))


def test_trainings_without_any_variance() -> None:
    same = differences.trainings_difference(np.full(3, 0.5), np.full(3, 0.5), 0.0, 100)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert differences.trainings_difference(np.full(3, 1.0), np.full(3, 0.0), 0.0, 100).p_value == 0


def test_equal_networks_are_rarely_significant_over_new_seeds_and_images() -> None:
    """McNemar's test on a training each, which knows no luck of the seeds, refuses far more often."""
    rng = np.random.default_rng(0)
    refused = {"trainings": 0, "exact": 0}
    for _ in range(500):
        hardness = rng.normal(0.7, 0.2, 400)
        first, second = ((rng.random((3, 400)) < hardness + rng.normal(0, 0.04, (3, 1))) for _ in range(2))
        variance = (first.mean(axis=0) - second.mean(axis=0)).var(ddof=1) / 400
        found = differences.trainings_difference(first.mean(axis=1), second.mean(axis=1), variance, 400)
        refused["trainings"] += found.p_value < 0.05
        refused["exact"] += differences.paired_difference(first[0], second[0]).p_value < 0.05
    assert refused["trainings"] / 500 < 0.06 and refused["exact"] / 500 > 0.2


def marked(names: str, apart: str) -> pd.DataFrame:
    """All pairs of one-letter names; `apart` lists those told apart, as "ab cd"."""
    rows = [(one, two, one + two in apart.split()) for one, two in combinations(names, 2)]
    return pd.DataFrame(rows, columns=["first", "second", "significant"])


@pytest.mark.parametrize(
    ("names", "apart", "expected"),
    [
        ("abcd", "", {"a": "a", "b": "a", "c": "a", "d": "a"}),
        ("abc", "ab ac bc", {"a": "a", "b": "b", "c": "c"}),
        ("abc", "ac", {"a": "a", "b": "ab", "c": "b"}),
        ("abcd", "bc", {"a": "ab", "b": "a", "c": "b", "d": "ab"}),
        ("a", "", {"a": "a"}),
        ("", "", {}),
    ],
)
def test_letters(names: str, apart: str, expected: dict[str, str]) -> None:
    assert pairs.letters(list(names), marked(names, apart)) == expected


@settings(deadline=None)
@given(st.sets(st.sampled_from([one + two for one, two in combinations("abcdefg", 2)])))
def test_two_share_a_letter_exactly_when_they_are_not_significant(apart: set[str]) -> None:
    table = marked("abcdefg", " ".join(apart))
    letters = pairs.letters(list("abcdefg"), table)
    for row in table.itertuples():
        assert bool(set(letters[row.first]) & set(letters[row.second])) is not row.significant
    found = [set(each) for each in pairs.groups(list("abcdefg"), table)]
    assert not any(one < two for one in found for two in found)


def test_more_groups_than_letters_keep_marks_of_their_own() -> None:
    names = [f"v{at}" for at in range(30)]
    table = pd.DataFrame([(*two, True) for two in combinations(names, 2)], columns=["first", "second", "significant"])
    assert len(set(pairs.letters(names, table).values())) == 30 and pairs.letters(names, table)["v26"] == "a1"


def test_pairwise_tests_of_single_trainings_is_mcnemars_with_holm_over_all(tmp_path: Path) -> None:
    found, predicted, table = made(tmp_path, {"a": 1.0, "b": 2.0, "c": 3.0}).read()
    assert list(table["first"] + table["second"]) == ["cb", "ca", "ba"] and set(table["test"]) == {differences.EXACT}
    for row in table.itertuples():
        expected = differences.paired_difference(predicted[row.first].correct[0], predicted[row.second].correct[0])
        assert (row.difference, row.p_value) == (expected.difference, expected.p_value)
    assert table["corrected"].to_numpy() == pytest.approx(pairs.holm(table["p_value"].to_numpy()))
    assert pairs.versus_best(table)["variant"].tolist() == ["b", "a"]
    accuracies = found.ranked.set_index("variant")["test_accuracy"]
    assert table["difference"][1] == pytest.approx(accuracies["c"] - accuracies["a"])


def test_trainings_that_differ_in_number(tmp_path: Path) -> None:
    found, predicted, table = made(tmp_path, {"a": 1.0, "b": 2.0, "c": 2.1}, trainings={"a": 3, "b": 2}).read()
    assert found.ranked.set_index("variant")["replicates"].to_dict() == {"a": 3, "b": 2, "c": 1}
    assert set(table["test"]) == {differences.TRAININGS} and predicted["a"].predicted.shape == (3, 400)
    accuracies = found.ranked.set_index("variant")["test_accuracy"]
    for row in table.itertuples():
        assert row.difference == pytest.approx(accuracies[row.first] - accuracies[row.second])
        assert row.low <= row.difference <= row.high


def test_accuracies_without_predictions_are_compared_as_independent(tmp_path: Path) -> None:
    stores = made(tmp_path, {"a": 1.0, "b": 2.0, "c": 3.0}, trainings={"c": 3})
    found = results.read(stores.table)
    table = pairs.pairwise_tests(found, {})
    assert table["test"].tolist() == [differences.TRAININGS_ALONE, differences.TRAININGS_ALONE, differences.ALONE]
    with_answers = stores.read()[2]
    wider = (table["high"] - table["low"]) > (with_answers["high"] - with_answers["low"])
    assert wider.all()
