"""One definition of overfitting, the one that the audit's tolerance holds too."""

from __future__ import annotations

import pytest

from bakeoff import claims
from bakeoff.lab.overfitting import GAP, MINIMUM_STEPS, overfits
from bakeoff.params import DIRECTORY


@pytest.mark.parametrize(
    ("train", "held_out", "steps", "expected"),
    [
        (0.9, 0.8, MINIMUM_STEPS, True),
        (0.852, 0.8, MINIMUM_STEPS, True),
        (0.84, 0.8, MINIMUM_STEPS, False),
        (0.7, 0.8, MINIMUM_STEPS, False),
        (0.9, 0.8, 51, None),
        (0.9, 0.8, float("nan"), None),
        (0.9, None, MINIMUM_STEPS, None),
        (float("nan"), 0.8, MINIMUM_STEPS, None),
    ],
)
def test_overfitting_needs_a_wide_gap_and_enough_steps(
    train: float, held_out: float | None, steps: float, expected: bool | None
) -> None:
    assert overfits(train, held_out, steps) is expected


def test_the_audits_tolerance_is_the_pages_gap() -> None:
    assert claims.read_tolerances(DIRECTORY)["gap"].amount == GAP
