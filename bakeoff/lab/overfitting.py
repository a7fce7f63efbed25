"""What "overfits" means: one definition for every page and for the audit of the sources' claims."""

from __future__ import annotations

import math

GAP = 0.05  # training accuracy less that on held-out images, from which on a network overfits
MINIMUM_STEPS = 300  # optimizer steps; a network that took fewer has not learned enough for its gap to tell


def overfits(train_accuracy: float | None, held_out_accuracy: float | None, optimizer_steps: float) -> bool | None:
    """Whether a network overfits, from its accuracies (shares) on training and on held-out images.

    None where that cannot be said: an accuracy is missing or not finite, or fewer than MINIMUM_STEPS steps were taken.
    """
    known = [each for each in (train_accuracy, held_out_accuracy) if each is not None and math.isfinite(each)]
    if len(known) < 2 or not optimizer_steps >= MINIMUM_STEPS:
        return None
    return known[0] - known[1] > GAP
