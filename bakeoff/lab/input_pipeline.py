"""Batches of images whose content depends on nothing but the seed, the epoch and the step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import keras
import numpy as np

from bakeoff.lab.streams import generator

Item = TypeVar("Item")
# Images are read, augmented and scaled in blocks of about this size, of which a batch is then a slice: with batches
# of 32 small images, that makes the difference between keeping pace with arrays in memory and being 7 % slower.
BLOCK_IMAGES = 1024
BLOCK_BYTES = 16_000_000


class Examples(Protocol):
    """What batches are cut from: a `View` of prepared images, or arrays in memory (`ArrayExamples`)."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> np.ndarray:
        """Class numbers (n,) int64."""
        ...

    def batch(self, positions: np.ndarray) -> np.ndarray:
        """What the network sees of the examples at these positions, (k, ...) float32."""
        ...


@dataclass(frozen=True)
class ArrayExamples:
    """Examples that are there already: inputs (n, ...) and labels (n,) int64."""

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, positions: np.ndarray) -> np.ndarray:
        """The inputs at these positions as float32."""
        return self.inputs[positions].astype(np.float32, copy=False)


class Batches(keras.utils.PyDataset):
    """Batches for `fit` and `evaluate`, numbered on and on over the epochs.

    Item i is step `i % len(batches)` of epoch `first_epoch + i // len(batches)`: inputs (k, ...) float32 and
    encoded labels (see `encode_labels`). It is the same whenever and in whatever order it is asked for, so a
    training that is taken up again at an epoch sees what the undisturbed one saw.

    There is no last item, so `fit` needs `steps_per_epoch=len(batches)`. That keeps one reader for all epochs, which
    Keras otherwise stops and starts at every epoch's end. `fit` reads faster from `dataset()` than from this object.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        *,
        num_outputs: int,
        one_hot: bool = False,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Mapping[str, Any] | None = None,
        first_epoch: int = 0,
        drop_last: bool = False,
    ) -> None:
        """Cut `examples` into batches of `batch_size`, the last one of an epoch smaller unless `drop_last`.

        `augmentation` takes the options of `augmentation.augment`, and then `examples` must be a `View`.

        Raises ValueError when there are no examples or the batch size is not positive.
        """
        super().__init__()
        if len(examples) < 1 or batch_size < 1:
            raise ValueError(
                f"batches need an image and a batch size of at least 1, not {len(examples)} and {batch_size}:"
                " raise max_train_examples or batch_size"
            )
        self.examples = examples
        self.batch_size = min(batch_size, len(examples))
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = dict(augmentation or {})
        self.first_epoch = first_epoch
        self.drop_last = drop_last
        self._labels = encode_labels(examples.labels, num_outputs, one_hot)
        self._order: tuple[int, np.ndarray] | None = None
        self._block: tuple[tuple[int, int], np.ndarray] | None = None
        self._steps_per_block = self._choose_block()

    def __len__(self) -> int:
        """Steps an epoch."""
        whole, rest = divmod(len(self.examples), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    @property
    def num_batches(self) -> None:
        """None tells Keras that there is no last batch."""
        return

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Item `index`, counted over the epochs from `first_epoch` on."""
        epoch, step = divmod(index, len(self))
        epoch += self.first_epoch
        block, step_in_block = divmod(step, self._steps_per_block)
        inputs = self._inputs_of(epoch, block)
        start = step_in_block * self.batch_size
        return inputs[start : start + self.batch_size], self._labels[self._positions(epoch, step, 1)]

    def dataset(self, first_epoch: int | None = None) -> Any:
        """What `fit` and `evaluate` read these batches from with the least work: the same items in the same order.

        They are those of the epochs from `first_epoch` on, without end (None: as this object was made). On TensorFlow
        that is a `tf.data.Dataset` of whole blocks, which it cuts into batches without Python, where each costs a
        millisecond (two cores, batches of 128 small images). Elsewhere it is a generator, and the next block is made
        in a thread while the network computes.
        """
        self.first_epoch = self.first_epoch if first_epoch is None else first_epoch
        if keras.backend.backend() != "tensorflow":
            return self._batches()
        import tensorflow as tf

        first = self[0]
        like = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in first)
        blocks = tf.data.Dataset.from_generator(self._blocks, output_signature=like).prefetch(1)
        cut = blocks.flat_map(lambda *block: tf.data.Dataset.from_tensors(block).rebatch(self.batch_size))
        options = tf.data.Options()
        # Whoever drops an iterator waits for the thread that tunes it, which now and then misses that it shall end and
        # sleeps on, for many seconds in a long training. There is nothing to tune here.
        options.autotune.enabled = False
        return cut.prefetch(4).with_options(options)

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and labels of whole blocks, over the epochs without end."""
        for epoch in itertools.count(self.first_epoch):
            for step in range(0, len(self), self._steps_per_block):
                steps = min(self._steps_per_block, len(self) - step)
                labels = self._labels[self._positions(epoch, step, steps)]
                yield self._inputs_of(epoch, step // self._steps_per_block)[: len(labels)], labels

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inputs and labels of one batch after the other, over the epochs without end."""
        for inputs, labels in _one_ahead(self._blocks()):
            for start in range(0, len(labels), self.batch_size):
                yield inputs[start : start + self.batch_size], labels[start : start + self.batch_size]

    def _inputs_of(self, epoch: int, block: int) -> np.ndarray:
        """The inputs of `_steps_per_block` batches in a row."""
        kept = self._block  # looked at once: a reader that was given up may still be at work beside the new one
        if kept is None or kept[0] != (epoch, block):
            positions = self._positions(epoch, block * self._steps_per_block, self._steps_per_block)
            kept = self._block = (epoch, block), self._prepare(positions, epoch, block)
        return kept[1]

    def _prepare(self, positions: np.ndarray, epoch: int, block: int) -> np.ndarray:
        if not self.augmentation:
            return self.examples.batch(positions)
        from bakeoff.lab.augmentation import augment

        view: Any = self.examples
        random = generator(self.seed, "augmentation", epoch, block)
        changed = augment(view.raw(positions), random, self.augmentation, seed=self.seed, epoch=epoch, ids=positions)
        return view.apply(changed)

    def _positions(self, epoch: int, step: int, steps: int) -> np.ndarray:
        """Which examples `steps` batches from `step` on consist of."""
        kept = self._order
        if kept is None or kept[0] != epoch:
            count = len(self.examples)
            order = generator(self.seed, "shuffle", epoch).permutation(count) if self.shuffle else np.arange(count)
            kept = self._order = epoch, order
        return kept[1][step * self.batch_size : (step + steps) * self.batch_size]

    def _choose_block(self) -> int:
        """How many batches a block holds."""
        bytes_each = max(self.examples.batch(np.arange(1))[0].nbytes, 1)
        images = min(BLOCK_IMAGES, BLOCK_BYTES // bytes_each)
        return max(1, images // self.batch_size)


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items of an endless iterator, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items)
        while True:
            item = coming.result()
            coming = pool.submit(next, items)
            yield item


def encode_labels(labels: np.ndarray, num_outputs: int, one_hot: bool) -> np.ndarray:
    """Labels (n,) as a loss wants them: (n, 1) float32 for one output, one-hot (n, num_outputs), or as they are.

    Raises ValueError when a label has no output.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < max(num_outputs, 2):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, but the network has {num_outputs} outputs:"
            " build it for the classes of this dataset"
        )
    if num_outputs == 1:
        return labels.astype(np.float32)[:, None]
    whole = np.int32 if keras.backend.backend() == "jax" else np.int64  # JAX has no 64 bits unless asked for
    return np.eye(num_outputs, dtype=np.float32)[labels] if one_hot else labels.astype(whole)
