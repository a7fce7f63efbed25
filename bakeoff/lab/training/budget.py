"""The compute budget: how many images a training may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from bakeoff.lab.models.flops import forward_gflop

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import View

STEPS_WITHOUT_GRAPH = 5


def within_budget(
    train: View,
    validation: View | None,
    model: keras.Model | float,
    max_tflop: float | None,
    *,
    passes: float,
    batch_size: int,
    validation_passes: float | None = None,
) -> tuple[View, View | None]:
    """The training and validation images that `max_tflop` pays for: the first n of each, in the proportion they had.

    `passes` are the forward passes through `model` that a training image costs in all (a training step counts three:
    forward, and twice that for the gradients), `validation_passes` those of a validation image (a third,
    if not given). `model` may be its forward GFLOP. At least one batch is
    trained on.
    """
    if max_tflop is None:
        return train, validation
    validation_passes = passes / 3 if validation_passes is None else validation_passes
    share = len(validation) / len(train) if validation is not None else 0.0
    forward = forward_gflop(model) if isinstance(model, keras.Model) else model
    gflop = forward * (passes + share * validation_passes)
    if gflop * len(train) <= max_tflop * 1000:
        return train, validation
    count = min(len(train), max(int(max_tflop * 1000 / gflop), batch_size))
    if validation is None:
        return train.first(count), None
    return train.first(count), validation.first(min(len(validation), max(1, round(count * share))))


def is_short(steps: int, jit_compile: bool = False) -> bool:
    """Whether a training of so many optimizer steps runs sooner without a graph, which takes as long as ten or more."""
    return steps <= STEPS_WITHOUT_GRAPH and not jit_compile and keras.backend.backend() != "jax"
