from __future__ import annotations

from itertools import combinations

import numpy as np

from bakeoff.lab.streams import coin, generator


def test_every_purpose_seed_and_number_has_a_stream_of_its_own() -> None:
    asked = [(0, "shuffle"), (0, "shuffle", 0), (0, "shuffle", 0, 0), (0, "augmentation", 0), (1, "shuffle", 0)]
    asked += [(2**32, "shuffle", 0), (0, "shuffle", 2**32), (0, "shuffle", 1)]
    drawn = [generator(*each).integers(0, 2**63, 4) for each in asked]
    assert not any(np.isin(one, other).any() for one, other in combinations(drawn, 2))


def test_a_stream_is_the_same_every_time() -> None:
    np.testing.assert_array_equal(generator(3, "shuffle", 1).random(5), generator(3, "shuffle", np.int64(1)).random(5))
    assert generator(0, "shuffle", 0).integers(0, 1000, 3).tolist() == [449, 860, 594]


def test_coins_differ_by_seed_as_by_name() -> None:
    throws = np.array([[coin(seed, "flip", name) for name in range(400)] for seed in range(3)])
    assert (np.abs(throws.mean(axis=1) - 0.5) < 0.1).all()
    for one, other in combinations(throws, 2):
        assert 0.4 < (one == other).mean() < 0.6  # neither the same nor the opposite
