import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from statsmodels.stats.weightstats import DescrStatsW

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


def test_interval_of_one_training_is_wilsons() -> None:
    assert statistics.accuracy_interval(np.array([0.6971]), 10_000) == statistics.wilson_interval(6971, 10_000)


def test_interval_over_trainings_is_the_t_interval_where_images_are_without_number() -> None:
    accuracies = np.array([0.71, 0.73, 0.70, 0.74])
    expected = stats.t.interval(0.95, 3, loc=accuracies.mean(), scale=stats.sem(accuracies))
    assert statistics.accuracy_interval(accuracies, 10**12) == pytest.approx(expected, abs=1e-5)


def test_interval_over_trainings_holds_both_lucks_and_stays_a_share() -> None:
    accuracies = np.array([0.71, 0.73, 0.70])
    low, high = statistics.accuracy_interval(accuracies, 1000)
    image_low, image_high = statistics.wilson_interval(accuracies.mean() * 1000, 1000)
    seed_low, seed_high = stats.t.interval(0.95, 2, loc=accuracies.mean(), scale=stats.sem(accuracies))
    assert low < min(image_low, seed_low) and high > max(image_high, seed_high)
    assert statistics.accuracy_interval(np.array([0.0, 0.5, 1.0]), 10) == (0.0, 1.0)


@pytest.mark.parametrize("accuracies", [[0.7], [0.69, 0.71]])
def test_fewer_than_three_trainings_do_not_tell_how_much_a_seed_moves(accuracies: list[float]) -> None:
    assert statistics.accuracy_interval(np.array(accuracies), 1000) == pytest.approx(
        statistics.wilson_interval(700, 1000)
    )
    assert statistics.seeds_interval(np.array(accuracies)) is None


def test_interval_of_a_mean_over_images_is_statsmodels_and_joined_with_the_seeds_from_three_on() -> None:
    losses = np.random.default_rng(0).exponential(0.9, (1, 400))
    assert statistics.mean_interval(losses) == pytest.approx(DescrStatsW(losses[0]).tconfint_mean())
    three = losses + np.array([[0.0], [0.1], [0.3]])
    low, high = statistics.mean_interval(three)
    images = DescrStatsW(three.mean(axis=0)).tconfint_mean()
    means = three.mean(axis=1)
    seeds = stats.t.interval(0.95, 2, loc=means.mean(), scale=stats.sem(means))
    reach = np.hypot((images[1] - images[0]) / 2, (seeds[1] - seeds[0]) / 2)
    assert (low, high) == pytest.approx((means.mean() - reach, means.mean() + reach))
    assert statistics.seeds_interval(means) == pytest.approx(seeds)


def test_interval_over_trainings_covers_the_truth_for_new_seeds_and_new_images() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        hardness, seeds = rng.normal(0.7, 0.15, 500), rng.normal(0, 0.02, 3)
        chance = np.clip(hardness + seeds[:, None], 0, 1)
        low, high = statistics.accuracy_interval((rng.random((3, 500)) < chance).mean(axis=1), 500)
        covered += low <= 0.697 <= high  # the clipped normal's mean
    assert covered / 300 > 0.93


def test_calibration_error_of_an_overconfident_network() -> None:
    probabilities = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert statistics.expected_calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_calibration_error_is_small_when_confidences_are_honest() -> None:
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


def test_reliability_is_scikit_learns_calibration_curve_with_counts() -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(5), 400)
    labels = np.random.default_rng(2).integers(0, 5, 400)
    found = statistics.reliability(probabilities, labels, bins=10)
    correct = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(correct, probabilities.max(axis=1), n_bins=10)
    filled = found.counts > 0
    assert found.accuracy[filled] == pytest.approx(accuracy) and found.confidence[filled] == pytest.approx(confidence)
    gaps = np.abs(accuracy - confidence)
    expected = (gaps * found.counts[filled]).sum() / 400
    assert statistics.expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(expected)
