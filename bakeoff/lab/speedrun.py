"""The trainer of speedrun_cnn: from scratch to 94 % of CIFAR-10 in ten epochs.

Source: the airbench94 record for CIFAR-10 (Keller Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU"),
rewritten for Keras: its optimizer, rate schedule, weight averaging and whitening, on any of Keras' backends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from bakeoff.lab.fitting import HistoryFile, Job, Trainer, compile_model, fit
from bakeoff.lab.models.airbench import whitening_weights
from bakeoff.lab.streams import generator

REFERENCE_BATCH = 1024  # images that the learning rate and the weight decay are given for
WHITENING_IMAGES = 5000
FIRST_SHARE, PEAK_AT, LAST_SHARE = 0.2, 0.23, 0.07  # of the rate; when it peaks, as a share of the steps
BLEND_BASE, BLEND_POWER = 0.95, 3


class ScaledNesterov(keras.optimizers.Optimizer):
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
        super().__init__(learning_rate=schedule, name="scaled_nesterov")
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


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
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


class Blending(keras.callbacks.Callback):
    """Every few steps replaces all weights by a running average of them; ends the training after `steps` steps.

    The average's decay grows with the cube of the progress, up to 0.95 for each step between two blendings.
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
        """Blend every `every` steps; after the last step the average is the result."""
        self.done += 1
        last = self.done >= self.steps
        if self.done % self.every == 0:
            self._blend(self._decay())
        elif last and self.done > self.every:
            self._blend(1.0)
        if last:
            self.model.stop_training = True

    def _decay(self) -> float:
        return float(BLEND_BASE**self.every * (self.done / self.steps) ** BLEND_POWER)

    def _blend(self, decay: float) -> None:
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


def run(model: keras.Model, job: Job, history: HistoryFile) -> dict[str, Any]:
    """Whiten with the first layer, then train with `ScaledNesterov` along `Triangle`, with `Blending`.

    The recipe's learning rate (11.5) and its weight decay (0.0153) are those of the record: for 1024 images
    whose losses are summed, before momentum multiplies them by `1 + 1 / (1 - momentum)`. Here losses are averaged
    and the rate is multiplied by the batch size instead, which is the same. Of the optimizer's options, `momentum`
    (0.85) and `weight_decay` count; `nesterov` goes without saying. The trainer's are `bias_rate` (64, of
    BatchNorm's biases), `whitening_bias_epochs` (3: the first layer's bias, which begins at zero, is trained so long,
    its kernel never), `blend_steps` (5) and `last_epoch_share` (1: the whole last epoch). Only full batches are used.
    The recipe's optimizer must be sgd; steps_per_execution does not apply.

    Raises ValueError without a layer named `whitening`, and for another optimizer.
    """
    recipe = job.recipe
    if recipe.optimizer != "sgd" or "whitening" not in [layer.name for layer in model.layers]:
        raise ValueError("trainer speedrun needs optimizer sgd and builder speedrun_cnn: set both")
    _whiten(model, job)
    batch_size = min(recipe.batch_size, len(job.train))
    steps_an_epoch = len(job.train) // batch_size
    share = float(job.option("last_epoch_share", 1.0))
    steps = max(1, math.ceil(steps_an_epoch * (recipe.epochs - 1 + share)))
    optimizer = make_speedrun_optimizer(model, job, batch_size, steps)
    compile_model(model, recipe, job.num_outputs, optimizer=optimizer, steps_per_execution=1)
    blending = Blending(steps, int(job.option("blend_steps", 5)))
    fit(model, job, history, callbacks=(blending,), keepers=(blending,), drop_last=True)
    return {"last_epoch_share": share}


def make_speedrun_optimizer(model: keras.Model, job: Job, batch_size: int, steps: int) -> ScaledNesterov:
    """The optimizer for batches of `batch_size` and `steps` steps in all."""
    options = job.recipe.optimizer_options
    unknown = set(options) - {"momentum", "nesterov", "weight_decay"}
    if unknown or not options.get("nesterov", True):
        raise ValueError(
            "trainer speedrun takes the optimizer_options momentum and weight_decay, with nesterov true,"
            f" not {dict(options)}"
        )
    momentum = float(options.get("momentum", 0.85))
    scale = batch_size / REFERENCE_BATCH / (1 + 1 / (1 - momentum))
    peak = job.recipe.learning_rate * scale
    bias_rate = float(job.option("bias_rate", 64.0))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    whitening_steps = int(job.option("whitening_bias_epochs", 3)) * (len(job.train) // batch_size)
    return ScaledNesterov(
        Triangle(peak, steps),
        peak=peak,
        momentum=momentum,
        decay=float(options.get("weight_decay", 0.0153)) * scale,
        factors={layer.beta.path: bias_rate for layer in norms},
        ends={model.get_layer("whitening").bias.path: whitening_steps},
    )


def _whiten(model: keras.Model, job: Job) -> None:
    """Set the first layer from training images, drawn so that sorted data show all their classes."""
    chosen = generator(job.recipe.seed, "whitening").permutation(len(job.train))[:WHITENING_IMAGES]
    images = job.train.batch(np.sort(chosen))
    layer = model.get_layer("whitening")
    for weight, value in zip((layer.kernel, layer.bias), whitening_weights(images), strict=True):
        weight.assign(value)


TRAINER = Trainer(run, options=("bias_rate", "blend_steps", "last_epoch_share", "whitening_bias_epochs"))
