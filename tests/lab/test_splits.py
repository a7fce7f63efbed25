from __future__ import annotations

import numpy as np
import pytest

from bakeoff.lab import splits


@pytest.mark.parametrize(
    ("counts", "kept"),
    [([100, 10, 5, 1], 93), ([2] * 100, 160), ([1] * 10, 10), ([1, 1, 50], 40), ([30, 30], 2), ([3, 0, 3], 5)],
)
def test_no_class_is_held_out_that_is_not_kept(counts: list[int], kept: int) -> None:
    """scikit-learn refuses classes of one image and fewer held-out images than classes."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = splits.stratified(labels, kept)
    assert len(train) == kept
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert not set(labels[held_out]) - set(labels[train])


def test_each_class_is_held_out_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    assert np.bincount(labels[splits.stratified(labels, 888)[1]]).tolist() == [200, 20, 2]
    first, second = (splits.stratified(labels, 888, seed)[1].tolist() for seed in (0, 1))
    assert first != second
