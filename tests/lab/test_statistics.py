import numpy as np
import pytest

from bakeoff.lab import statistics


def test_wilson_interval_agrees_with_the_published_formula() -> None:
    low, high = statistics.wilson_interval(6971, 10_000)
    assert (low, high) == pytest.approx((0.6880, 0.7060), abs=5e-5)


@pytest.mark.parametrize(("correct", "n", "expected"), [(0, 0, (0, 1)), (0, 20, (0, 0.161)), (20, 20, (0.839, 1))])
def test_wilson_interval_stays_within_zero_and_one(correct: int, n: int, expected: tuple[float, float]) -> None:
    assert statistics.wilson_interval(correct, n) == pytest.approx(expected, abs=1e-3)


def test_wilson_interval_refuses_more_right_than_there_are() -> None:
    with pytest.raises(ValueError, match="correct <= n"):
        statistics.wilson_interval(11, 10)


def pair(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images two networks got right, from the four counts."""
    counts = (both, only_first, only_second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_paired_difference_gives_newcombes_published_example() -> None:
    """Newcombe 1998, table III: 36, 12, 2, 0 of 50 by method 10."""
    result = statistics.paired_difference(*pair(36, 12, 2, 0))
    assert (result.difference, result.low, result.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)


def test_paired_difference_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, hits, runs = 0.05, 0, 300
    for _ in range(runs):
        hard = rng.random(400)
        first, second = hard < 0.75, (hard < 0.65) | (hard > 0.95)
        result = statistics.paired_difference(first, second)
        hits += result.low <= truth <= result.high
    assert 0.91 < hits / runs < 0.985


def test_paired_difference_p_value_is_mcnemars() -> None:
    assert statistics.paired_difference(*pair(50, 8, 2, 40)).p_value == pytest.approx(0.109375)
    assert statistics.paired_difference(*pair(50, 5, 5, 40)).p_value == 1.0


def test_two_identical_networks_do_not_differ() -> None:
    first, _ = pair(30, 0, 0, 10)
    result = statistics.paired_difference(first, first)
    assert result.difference == 0 and result.p_value == 1 and result.low <= 0 <= result.high


def test_swapping_a_pair_swaps_its_interval() -> None:
    first, second = pair(30, 12, 3, 10)
    one, other = statistics.paired_difference(first, second), statistics.paired_difference(second, first)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_paired_difference_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        statistics.paired_difference(np.ones(3, bool), np.ones(4, bool))


def test_unpaired_interval_is_wider_than_the_paired_one() -> None:
    first, second = pair(300, 40, 20, 40)
    paired = statistics.paired_difference(first, second)
    unpaired = statistics.unpaired_difference(first.mean(), second.mean(), len(first))
    assert unpaired.high - unpaired.low > paired.high - paired.low
    assert unpaired.difference == pytest.approx(paired.difference) and unpaired.p_value > paired.p_value


@pytest.mark.parametrize("accuracies", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_unpaired_difference_bears_the_extremes(accuracies: tuple[float, float]) -> None:
    result = statistics.unpaired_difference(*accuracies, 50)
    assert result.low <= result.difference <= result.high and 0 <= result.p_value <= 1


def test_holm_multiplies_the_smallest_by_the_number_of_tests() -> None:
    assert statistics.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm(np.array([])).size == 0


def test_calibration_error_of_a_network_surer_than_right() -> None:
    probabilities = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert statistics.expected_calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_calibration_error_is_small_when_likelihoods_are_honest() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20_000)
    labels = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert statistics.expected_calibration_error(probabilities, labels) < 0.02


def test_reliability_counts_every_image_once_and_certainty_in_the_last_bin() -> None:
    binned = statistics.reliability(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 1]), bins=10)
    assert binned.counts.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert binned.accuracy[9] == 1 and binned.accuracy[4] == 0 and np.isnan(binned.accuracy[0])


def test_calibration_error_without_images_is_not_a_number() -> None:
    assert np.isnan(statistics.expected_calibration_error(np.empty((0, 3)), np.empty(0, int)))
