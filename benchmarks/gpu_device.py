"""Training from images that lie on the device: what the case `gpu` compares with batches that come from the host."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bakeoff.lab.input_pipeline import Batches, encode_labels
from bakeoff.lab.models.flops import forward_gflop, layer_gflop
from bakeoff.lab.streams import coin, generator
from bakeoff.lab.training.airbench import DECAY_BASE, DECAY_POWER
from bakeoff.lab.transform import Transform

ON_DEVICE = {"crop_padding", "alternating_flip"}  # the augmentations that are whole moves of pixels


def jax() -> Any:
    """The package jax, where Keras computes with it."""
    return importlib.import_module("jax")


def wait(value: Any) -> None:
    """Return when the device has computed a tensor."""
    if hasattr(value, "block_until_ready"):
        value.block_until_ready()
    else:
        ops.convert_to_numpy(ops.reshape(value, (-1,))[:1])


# ---------------------------------------------------------------- batches from images on the device


class DeviceImages:
    """All images of a training as bytes on the device, from which batches are gathered, augmented and scaled there.

    Raises ValueError for an augmentation that turns or stretches images.
    """

    def __init__(self, batches: Batches, num_outputs: int, one_hot: bool) -> None:
        view: Any = batches.examples
        if more := set(batches.augmentation) - ON_DEVICE:
            raise ValueError(f"images on the device are only moved and mirrored, and not changed by {', '.join(more)}")
        raw = np.ascontiguousarray(view.raw(np.arange(len(view))))
        self.shape, self.transform, self.batches = raw.shape, view.transform, batches
        self.padding = int(batches.augmentation.get("crop_padding", 0))
        self.flips = bool(batches.augmentation.get("alternating_flip"))
        self.images = ops.convert_to_tensor(raw)
        self.labels = ops.convert_to_tensor(encode_labels(view.labels, num_outputs, one_hot))
        coins = [self.flips and coin(batches.seed, "alternating flip", each) for each in range(len(raw))]
        self._coins = np.array(coins, np.int32)

    def draw(self, epoch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """What the batches of an epoch consist of: positions (steps, batch) and moves (steps, batch, 3), int32.

        A move is how far down and to the right the crop begins, and whether the image is mirrored.
        """
        random, size = generator(self.batches.seed, "images on the device", epoch), steps * self.batches.batch_size
        order = np.resize(random.permutation(self.shape[0]), size).astype(np.int32)
        moves = random.integers(0, 2 * self.padding + 1, (size, 3), dtype=np.int32)
        moves[:, 2] = self._coins[order] ^ (epoch % 2 if self.flips else 0)
        return order.reshape(steps, -1), moves.reshape(steps, -1, 3)

    def gather(self, images: Any, labels: Any, positions: Any, moves: Any) -> tuple[Any, Any]:
        """A batch: inputs (k, h, w, c') float32 and encoded labels."""
        moved = self.padding or self.flips
        pixels = self._moved(images, positions, moves) if moved else ops.take(images, positions, axis=0)
        return scale(ops.cast(pixels, "float32"), self.transform), ops.take(labels, positions, axis=0)

    def _moved(self, images: Any, positions: Any, moves: Any) -> Any:
        _, height, width, channels = self.shape
        rows, columns = (self._along(side, moves[:, axis]) for axis, side in enumerate((height, width)))
        columns = ops.where(moves[:, 2:] == 1, width - 1 - columns, columns)
        places = (positions[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
        pixels = ops.take(ops.reshape(images, (-1, 1, channels)), ops.reshape(places, (-1,)), axis=0)
        return ops.reshape(pixels, (-1, height, width, channels))

    def _along(self, side: int, starts: Any) -> Any:
        """For each image (k,) and place of a side where its pixel lies before the crop, (k, side)."""
        seen = ops.convert_to_tensor(np.pad(np.arange(side, dtype=np.int32), self.padding, mode="reflect"))
        return ops.take(seen, starts[:, None] + ops.arange(side, dtype="int32"), axis=0)


def scale(pixels: Any, transform: Transform) -> Any:
    """What `transform` does to float32 pixels (n, h, w, c), on the device."""
    if transform.gray_weights is not None:
        pixels = ops.sum(ops.multiply(pixels, _numbers(transform.gray_weights)), axis=-1, keepdims=True)
    if transform.repeat > 1:
        pixels = ops.repeat(pixels, transform.repeat, axis=-1)
    pixels = ops.flip(pixels, axis=-1) if transform.reverse else pixels
    return ops.divide(ops.subtract(pixels, _numbers(transform.offset)), _numbers(transform.divisor))


def _numbers(values: Sequence[float]) -> Any:
    return ops.convert_to_tensor(np.array(values, np.float32))


class DeviceBatches(keras.utils.PyDataset):
    """Batches of `DeviceImages` for `fit`, numbered on and on as those of `Batches`."""

    def __init__(self, images: DeviceImages) -> None:
        super().__init__()
        self.images, self.steps = images, len(images.batches)
        self._gather: Callable[..., Any] = images.gather
        if keras.backend.backend() == "jax":
            self._gather = jax().jit(images.gather)
        self._drawn: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None

    @property
    def num_batches(self) -> None:
        """None tells Keras that there is no last batch."""
        return

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        epoch, step = divmod(index, self.steps)
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self.images.draw(epoch, self.steps)
        drawn = (ops.convert_to_tensor(each[step]) for each in self._drawn[1])
        return self._gather(self.images.images, self.images.labels, *drawn)


# ---------------------------------------------------------------- an epoch in one call


class EpochInOneCall:
    """On JAX: all steps of an epoch in one compiled function, from images on the device to new weights.

    With `lookahead_steps` the weights move onto their running average as `airbench.Lookahead` has it, and the training
    ends after `last_step` steps.
    """

    def __init__(
        self,
        model: keras.Model,
        images: DeviceImages,
        loss: keras.losses.Loss,
        last_step: int,
        lookahead_steps: int = 0,
    ) -> None:
        self.model, self.images, self.loss = model, images, loss
        self.last_step, self.lookahead_steps = last_step, lookahead_steps
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        parts = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
        variables = [[jax().numpy.copy(each.value) for each in part] for part in parts]
        average = [jax().numpy.copy(each) for each in variables[0] + variables[1]] if lookahead_steps else []
        self.state: Any = (*variables, average, jax().numpy.zeros((), "int32"))
        self._epoch = jax().jit(self._steps, donate_argnums=0)

    def run(self, epoch: int) -> np.ndarray:
        """Train for an epoch; loss and accuracy of each step, (steps, 2)."""
        drawn = self.images.draw(epoch, len(self.images.batches))
        self.state, measured = self._epoch(self.state, self.images.images, self.images.labels, drawn)
        return np.asarray(measured)

    def finish(self) -> None:
        """Give the model the weights."""
        parts = self.model.trainable_variables, self.model.non_trainable_variables
        for part, values in zip(parts, self.state[:2], strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)

    def _steps(self, state: Any, images: Any, labels: Any, drawn: Any) -> tuple[Any, Any]:
        def step(state: Any, drawn: Any) -> tuple[Any, Any]:
            if not self.lookahead_steps:
                return self._step(state, *self.images.gather(images, labels, *drawn))
            nothing = jax().numpy.zeros(2, "float32")
            return jax().lax.cond(
                state[4] < self.last_step,
                lambda state: self._step(state, *self.images.gather(images, labels, *drawn)),
                lambda state: (state, nothing),
                state,
            )

        return jax().lax.scan(step, state, drawn)

    def _step(self, state: Any, inputs: Any, labels: Any) -> tuple[Any, Any]:
        trainable, others, slots, average, done = state
        measure = jax().value_and_grad(self._measure, has_aux=True)
        (loss, (others, accuracy)), gradients = measure(trainable, others, inputs, labels)
        trainable, slots = self.model.optimizer.stateless_apply(slots, gradients, trainable)
        state = (list(trainable), list(others), list(slots), average, done + 1)
        if self.lookahead_steps:
            state = self._look_ahead(state)
        return state, jax().numpy.stack([loss, accuracy]).astype("float32")

    def _measure(self, trainable: Any, others: Any, inputs: Any, labels: Any) -> tuple[Any, Any]:
        outputs, others, penalties = self.model.stateless_call(
            trainable, others, inputs, training=True, return_losses=True
        )
        loss = self.loss(labels, outputs)
        loss = loss + sum(ops.cast(each, loss.dtype) for each in penalties)
        return loss, (list(others), ops.mean(ops.cast(_hits(outputs, labels), "float32")))

    def _look_ahead(self, state: Any) -> Any:
        """Every few steps, and at the end, as `airbench.Lookahead`."""
        done, every = state[4], self.lookahead_steps
        share = DECAY_BASE**every * (done.astype("float32") / self.last_step) ** DECAY_POWER
        share = jax().numpy.where(done % every == 0, share, 1.0)
        due = (done % every == 0) | ((done >= self.last_step) & (done > every))

        def update(state: Any) -> Any:
            trainable, others, slots, average, done = state
            weights = [*trainable, *others]
            moved = [
                old + (new - old) * (1 - share) if "float" in str(new.dtype) else new
                for old, new in zip(average, weights, strict=True)
            ]
            return moved[: len(trainable)], moved[len(trainable) :], slots, moved, done

        return jax().lax.cond(due, update, lambda state: state, state)


def _hits(outputs: Any, labels: Any) -> Any:
    """Which outputs (n, k) are right about encoded labels."""
    if outputs.shape[-1] == 1:
        return (outputs > 0.5) == (labels > 0.5)
    true = ops.argmax(labels, axis=-1) if len(labels.shape) > 1 else labels
    return ops.equal(ops.argmax(outputs, axis=-1), ops.cast(true, "int32"))


# ---------------------------------------------------------------- the least that a step costs


def step_gflop(model: keras.Model, batch_size: int) -> float:
    """10^9 operations of a training step, counted as three forward passes."""
    return 3 * batch_size * forward_gflop(model)


def step_gigabytes(model: keras.Model, batch_size: int, value_bytes: int) -> float:
    """The least that a training step reads and writes in the device's memory, with nothing kept in a cache.

    Each convolution and dense layer reads its input twice (forward, and for its kernel's gradient), writes its output,
    reads the gradient of that and writes the gradient of its input, each number of `value_bytes`; what lies between
    these layers counts as part of them. The optimizer reads and writes each trained variable and each of its slots in
    float32; besides, a variable is read twice and its gradient written and read.
    """
    kernels = [layer for layer in model.layers if layer_gflop(layer) > 0]
    read, written = (sum(math.prod(shape[1:]) for shape in side) for side in _shapes(kernels))
    trained = sum(math.prod(each.shape) for each in model.trainable_variables)
    slots = sum(math.prod(each.shape) for each in model.optimizer.variables)
    activations = batch_size * value_bytes * (3 * read + 2 * written)
    return (activations + trained * (4 * value_bytes + 8) + 8 * slots) / 1e9


def _shapes(kernels: Sequence[keras.Layer]) -> tuple[list[Any], list[Any]]:
    return [layer.input.shape for layer in kernels], [layer.output.shape for layer in kernels]
