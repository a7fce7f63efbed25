from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from bakeoff.lab import input_pipeline
from bakeoff.lab.input_pipeline import ArrayExamples, Batches, encode_labels

AUGMENTATION = {"rotation_degrees": 20, "horizontal_flip": True, "crop_padding": 2, "alternating_flip": True}


def numbered(count: int = 50, **options: Any) -> Batches:
    """Batches of 8 out of `count` examples, each input being its own number."""
    examples = ArrayExamples(np.arange(count, dtype=np.float32)[:, None], np.arange(count) % 10)
    return Batches(examples, 8, **{"num_outputs": 10, "seed": 3, "shuffle": True} | options)


def epoch_of(items: Batches, epoch: int) -> list[float]:
    steps = range(epoch * len(items), (epoch + 1) * len(items))
    return [float(x) for step in steps for x in items[step][0].ravel()]


def test_an_epoch_shows_every_example_once_with_its_own_label() -> None:
    items = numbered()
    assert sorted(epoch_of(items, 0)) == list(range(50))
    for step in range(2 * len(items)):
        inputs, labels = items[step]
        assert (inputs.ravel() % 10 == labels).all()


def test_every_epoch_has_an_order_of_its_own_and_so_has_every_seed() -> None:
    orders = [epoch_of(numbered(), 0), epoch_of(numbered(), 1), epoch_of(numbered(seed=4), 0)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert epoch_of(numbered(shuffle=False), 1) == list(range(50))


def test_an_item_is_the_same_in_whatever_order_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_pipeline, "BLOCK_IMAGES", 16)  # so that an epoch has several blocks
    straight = [numbered()[step][0] for step in range(20)]
    items = numbered()
    for step in (19, 3, 7, 3, 0, 12):
        np.testing.assert_array_equal(items[step][0], straight[step])


def test_batches_that_begin_at_a_later_epoch_continue_the_series() -> None:
    assert epoch_of(numbered(first_epoch=2), 0) == epoch_of(numbered(), 2)


def test_the_last_batch_is_kept_or_dropped() -> None:
    assert (len(numbered()), len(numbered()[6][0])) == (7, 2)
    assert len(numbered(drop_last=True)) == 6
    assert len(numbered(count=5, drop_last=True)) == 1  # fewer examples than a batch make one batch


def test_augmented_batches_follow_seed_epoch_and_step_alone(stages: Callable[..., Any]) -> None:
    view = stages().prepared.train
    options: dict[str, Any] = {"num_outputs": 10, "shuffle": True, "augmentation": AUGMENTATION}
    items, again = Batches(view, 32, **options), Batches(view, 32, **options)
    last = items[5]
    np.testing.assert_array_equal(again[2][0], items[2][0])
    np.testing.assert_array_equal(again[5][0], last[0])
    assert not np.array_equal(Batches(view, 32, **options | {"augmentation": {}})[5][0], last[0])
    assert not np.array_equal(Batches(view, 32, **options, seed=1)[5][0], last[0])
    assert last[0].shape == (16, 32, 32, 3) and last[0].dtype == np.float32  # the last batch of 80 images
    assert 0 <= last[0].min() < last[0].max() <= 1  # changed before they were scaled, scaled once


def test_no_draw_of_a_training_shares_bits_with_another(
    stages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = np.random.default_rng

    def watched(entropy: Any) -> np.random.Generator:
        drawn.extend(real(entropy).integers(0, 2**63, 2).tolist())
        return real(entropy)

    monkeypatch.setattr(np.random, "default_rng", watched)
    monkeypatch.setattr(input_pipeline, "BLOCK_IMAGES", 32)
    options: dict[str, Any] = {"num_outputs": 10, "shuffle": True, "augmentation": AUGMENTATION}
    for seed in (0, 1):
        items = Batches(stages().prepared.train, 32, seed=seed, **options)
        for index in range(3 * len(items)):
            items[index]
    assert len(drawn) >= 2 * 2 * 3 * 4 and len(set(drawn)) == len(drawn)  # an order and three blocks an epoch


def test_batches_of_a_view_hold_what_the_view_gives(stages: Callable[..., Any]) -> None:
    view = stages().prepared.train
    inputs, labels = Batches(view, 30, num_outputs=10)[1]
    np.testing.assert_array_equal(inputs, view.batch(np.arange(30, 60)))
    np.testing.assert_array_equal(labels, view.labels[30:60])


@pytest.mark.parametrize("by_feed", [True, False])  # as TensorFlow reads them, and as the other backends do
def test_fit_sees_the_epochs_in_order_and_each_once(by_feed: bool) -> None:
    seen: list[int] = []

    @keras.saving.register_keras_serializable()
    def record(labels: Any, outputs: Any) -> Any:
        seen.extend(keras.ops.convert_to_numpy(labels).ravel().tolist())
        return keras.ops.mean(outputs, axis=-1)

    examples = ArrayExamples(np.arange(50, dtype=np.float32)[:, None], np.arange(50))
    items = Batches(examples, 8, num_outputs=50, seed=3, shuffle=True, first_epoch=1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(50)])
    model.compile(loss=record, optimizer="sgd", run_eagerly=True)
    read = items.dataset() if by_feed else items
    model.fit(read, steps_per_epoch=len(items), initial_epoch=1, epochs=3, shuffle=False, verbose=0)
    assert seen == epoch_of(numbered(), 1) + epoch_of(numbered(), 2)


@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"first_epoch": 3}, {"shuffle": False}, {"one_hot": True}]
)
def test_a_feed_gives_the_same_items_to_every_reader(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(input_pipeline, "BLOCK_IMAGES", 16)  # so that an epoch has several blocks
    feed = numbered(**options).dataset()
    items = numbered(**options)
    readers = [iter(feed), iter(feed)]
    for step in range(2 * len(items) + 3):
        for reader in readers:
            for part, expected in zip(next(reader), items[step], strict=True):
                np.testing.assert_array_equal(part, expected)
                assert keras.ops.convert_to_numpy(part).dtype == expected.dtype


def test_what_jax_and_pytorch_read_are_the_same_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_pipeline, "BLOCK_IMAGES", 24)  # blocks of three batches, the last one shorter
    items = numbered()
    for index, (inputs, labels) in zip(range(3 * len(items)), items._batches(), strict=False):
        np.testing.assert_array_equal(inputs, items[index][0])
        np.testing.assert_array_equal(labels, items[index][1])


def test_a_feed_of_augmented_images_gives_the_same_items(stages: Callable[..., Any]) -> None:
    items = Batches(stages().prepared.train, 32, num_outputs=10, shuffle=True, augmentation=AUGMENTATION)
    reader = iter(items.dataset())
    for step in range(2 * len(items)):
        np.testing.assert_array_equal(next(reader)[0], items[step][0])


def test_nobody_waits_for_the_thread_that_tunes_a_feed() -> None:
    assert numbered().dataset().options().autotune.enabled is False


def test_labels_are_encoded_for_the_loss() -> None:
    labels = np.array([0, 1, 1])
    np.testing.assert_array_equal(encode_labels(labels, 1, False), [[0], [1], [1]])
    np.testing.assert_array_equal(encode_labels(labels, 3, True), [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(encode_labels(labels, 3, False), labels)


def test_labels_without_an_output_are_refused() -> None:
    with pytest.raises(ValueError, match="labels run from 0 to 9"):
        encode_labels(np.arange(10), 5, False)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        numbered(count=0)
