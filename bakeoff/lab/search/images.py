"""The images of a search: those that its trials are trained on, and those that the best is chosen by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import keras

from bakeoff.lab import splits, training
from bakeoff.lab.models.flops import forward_gflop
from bakeoff.lab.search.space import Space, Values, costliest

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared, View


def held_out(data: Prepared, share: float) -> tuple[View, View]:
    """Images to train the trials on, and images to choose by: never the test set.

    The latter are the variant's own validation images where it holds some out of the training images, else this
    `share` of the training images.
    """
    train = data.train
    if data.validation_source == "split" and data.validation is not None:
        return train, data.validation
    kept = len(train) - max(1, round(len(train) * share))
    if data.validation_sampling == "last":
        return train.first(kept), replace(train, indices=train.indices[kept:])
    chosen, others = (train.indices[at] for at in splits.stratified(train.labels, kept))
    return replace(train, indices=chosen), replace(train, indices=others)


def within_budget(
    train: View,
    validation: View,
    test: View | None,
    space: Space,
    build: Callable[[Values], keras.Model],
    max_tflop: float | None,
    *,
    passes: float,
    batch_size: int,
) -> tuple[View, View, View | None]:
    """The first n training, validation and test images: as many as `max_tflop` pays for in the costliest network.

    `build` makes the network of a trial; `passes` and `batch_size` are those of `training.within_budget`.
    """
    gflop = 0.0 if max_tflop is None else costliest(space, lambda values: _forward_gflop(build, values))
    if not gflop:
        return train, validation, test
    some, chosen_by = training.within_budget(train, validation, gflop, max_tflop, passes=passes, batch_size=batch_size)
    if test is not None and len(some) < len(train):
        test = test.first(max(1, round(len(test) * len(some) / len(train))))
    return some, chosen_by or validation, test


def _forward_gflop(build: Callable[[Values], keras.Model], values: Values) -> float:
    try:
        return forward_gflop(build(values))
    except ValueError:  # the trial will say why
        return 0.0
