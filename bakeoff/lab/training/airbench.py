"""What the airbench training needs besides Keras: its optimizer, learning rate schedule, Lookahead and whitening.

Source: the airbench94 record for CIFAR-10 (Keller Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU"),
rewritten for Keras, on any of its backends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from bakeoff.lab.models.airbench import whitening_weights
from bakeoff.lab.streams import generator

if TYPE_CHECKING:
    from bakeoff.lab.input_pipeline import Examples

REFERENCE_BATCH = 1024  # images that the learning rate and the weight decay are given for
WHITENING_IMAGES = 5000
FIRST_SHARE, PEAK_AT, LAST_SHARE = 0.2, 0.23, 0.07  # of the rate; when it peaks, as a share of the steps
DECAY_BASE, DECAY_POWER = 0.95, 3


class NesterovSGD(keras.optimizers.Optimizer):
    """SGD with Nesterov momentum, weight decay that no rate scales, and for some variables a rate or end of their own.

    For each variable: `g = gradient + decay / peak * variable`, `m = momentum * m + g`,
    `variable -= rate * (g + momentum * m)`, where `rate` runs along the schedule to its `peak` and both are
    multiplied by the variable's factor, so that a step at the peak takes `decay` of the variable whatever its rate.
    A variable with an end stands still from that step on.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        *,
        peak: float,
        momentum: float,
        decay: float,
        factors: Mapping[str, float],
        ends: Mapping[str, int] | None = None,
    ) -> None:
        """`factors` maps paths of variables to what their rate is multiplied with, `ends` to how many steps they take.

        Others have a factor of 1, and no end.
        """
        super().__init__(learning_rate=schedule, name="nesterov_sgd")
        self.peak, self.momentum, self.decay = peak, momentum, decay
        self.factors, self.ends = dict(factors), dict(ends or {})

    def build(self, variables: list[keras.Variable]) -> None:
        """Make a slot for each variable's momentum."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        self.factor_of = [self.factors.get(variable.path, 1.0) for variable in variables]
        self.end_of = [self.ends.get(variable.path) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step for one variable, which is the backend's own."""
        number = self._get_variable_index(variable)
        factor, end, momentum = self.factor_of[number], self.end_of[number], self.momentums[number]
        rate = ops.cast(learning_rate, variable.dtype) * factor
        gradient = ops.cast(gradient, variable.dtype) + variable * (self.decay / (self.peak * factor))
        if end is not None:
            rate = rate * ops.cast(self.iterations < end, variable.dtype)
        moved = self.momentum * momentum + gradient
        self.assign(momentum, moved)
        self.assign_sub(variable, rate * (gradient + self.momentum * moved))


class WarmUpLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly from 0.2 to 1 of its peak over 23 % of the steps, then falls linearly to 0.07."""

    def __init__(self, peak: float, steps: int) -> None:
        """`steps` is the number of all steps of the training."""
        self.peak, self.steps = peak, steps

    def __call__(self, step: Any) -> Any:
        """The rate of one step, counted from 0."""
        step = ops.cast(step, "float32")
        top = float(max(int(PEAK_AT * self.steps), 1))
        rising = FIRST_SHARE + (1 - FIRST_SHARE) * step / top
        falling = 1 + (LAST_SHARE - 1) * (step - top) / max(self.steps - top, 1.0)
        return self.peak * ops.minimum(rising, falling)


class Lookahead(keras.callbacks.Callback):
    """Every few steps moves all weights onto a running average of them; ends the training after `steps` steps.

    The average's decay grows with the cube of the progress, up to 0.95 for each step between two updates.
    """

    def __init__(self, steps: int, every: int) -> None:
        super().__init__()
        self.steps, self.every, self.done = steps, every, 0
        self._average: list[Any] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The average begins as the weights."""
        self._average = self._average or [ops.copy(weight.value) for weight in self._weights()]

    def state(self) -> dict[str, np.ndarray]:
        """The average, and how many steps are done."""
        arrays = {f"average_{number}": ops.convert_to_numpy(value) for number, value in enumerate(self._average)}
        return arrays | {"done": np.array(self.done)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        self.done = int(state["done"])
        self._average = [ops.convert_to_tensor(state[f"average_{number}"]) for number in range(len(state) - 1)]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Update every `every` steps; after the last step the average is the result."""
        self.done += 1
        last = self.done >= self.steps
        if self.done % self.every == 0:
            self._update(self._decay())
        elif last and self.done > self.every:
            self._update(1.0)
        if last:
            self.model.stop_training = True

    def _decay(self) -> float:
        return float(DECAY_BASE**self.every * (self.done / self.steps) ** DECAY_POWER)

    def _update(self, decay: float) -> None:
        if hasattr(self.model, "jax_state_sync"):  # on JAX, fit holds the weights until they are asked for
            self.model.jax_state_sync()
        for number, weight in enumerate(self._weights()):
            average = self._average[number]
            average = average + (weight.value - average) * (1 - decay)
            weight.assign(average)
            self._average[number] = ops.copy(average)

    def _weights(self) -> list[keras.Variable]:
        """All weights that are numbers to average: the statistics of BatchNorm too, states of generators not."""
        return [weight for weight in self.model.weights if "float" in weight.dtype]


def learning_rate_per_example(learning_rate: float, batch_size: int, momentum: float) -> float:
    """The peak rate for losses averaged over a batch, from the record's units.

    The record's rate (11.5) and weight decay are for 1024 images whose losses are summed, before momentum multiplies
    them by `1 + 1 / (1 - momentum)`. Here losses are averaged, and the rate is multiplied by the batch size instead.
    """
    return learning_rate * batch_size / REFERENCE_BATCH / (1 + 1 / (1 - momentum))


def airbench_optimizer(
    model: keras.Model,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    steps: int,
    batch_size: int,
    bias_scaler: float,
    whitening_bias_steps: int,
) -> NesterovSGD:
    """The optimizer of a training of `steps` steps: BatchNorm's biases learn `bias_scaler` times as fast.

    `learning_rate` and `weight_decay` are in the record's units, see `learning_rate_per_example`. The bias of the layer
    `whitening` is trained for `whitening_bias_steps` steps.
    """
    peak = learning_rate_per_example(learning_rate, batch_size, momentum)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return NesterovSGD(
        WarmUpLinearDecay(peak, steps),
        peak=peak,
        momentum=momentum,
        decay=learning_rate_per_example(weight_decay, batch_size, momentum),
        factors={layer.beta.path: bias_scaler for layer in norms},
        ends={model.get_layer("whitening").bias.path: whitening_bias_steps},
    )


def whiten(model: keras.Model, examples: Examples, seed: int) -> None:
    """Set the layer `whitening` from training images, drawn so that sorted data show all their classes."""
    chosen = generator(seed, "whitening").permutation(len(examples))[:WHITENING_IMAGES]
    layer = model.get_layer("whitening")
    for weight, value in zip(
        (layer.kernel, layer.bias), whitening_weights(examples.batch(np.sort(chosen))), strict=True
    ):
        weight.assign(value)
