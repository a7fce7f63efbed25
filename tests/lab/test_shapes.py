from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from bakeoff.lab import shapes

DIGEST = "a0811248ad41fb8c9f598e4457a653d03c3b3795dc0f17a9097e4d88d0968880"


def test_images_are_the_same_bits_everywhere() -> None:
    images, labels = shapes.generate("train", 40, seed=0)
    assert images.shape == (40, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == DIGEST


def test_a_shorter_set_is_the_beginning_of_a_longer_one() -> None:
    long_images, long_labels = shapes.generate("train", 620, seed=3)
    short_images, short_labels = shapes.generate("train", 257, seed=3)
    assert np.array_equal(long_images[:257], short_images)
    assert np.array_equal(long_labels[:257], short_labels)


def test_seed_and_split_change_the_images() -> None:
    images = [shapes.generate(split, 20, seed)[0] for split, seed in (("train", 0), ("train", 1), ("test", 0))]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_every_ten_images_show_every_class_in_changing_order() -> None:
    _, labels = shapes.generate("test", 200, seed=0)
    tens = labels.reshape(-1, 10)
    assert np.array_equal(np.sort(tens, axis=1), np.tile(np.arange(10), (20, 1)))
    assert len({tuple(ten) for ten in tens.tolist()}) > 5
    assert len(shapes.CLASS_NAMES) == 10


def test_no_pixel_alone_and_no_mean_colour_gives_the_class_away() -> None:
    images, labels = shapes.generate("train", 2000, seed=0)
    means = images.mean(axis=(1, 2)) / 255
    by_class = np.array([means[labels == label].mean(axis=0) for label in range(10)])
    assert by_class.std(axis=0).max() < 0.25 * means.std(axis=0).min()
    assert images.std(axis=0).min() > 20


def test_images_are_drawn_fast() -> None:
    start = time.process_time()
    shapes.generate("train", 1000, seed=5)
    assert time.process_time() - start < 3  # 0.2 s measured; 50 000 must stay well under a minute


@pytest.mark.parametrize(("split", "n", "word"), [("validation", 1, "no split"), ("test", 10_001, "10000 test")])
def test_what_there_is_not_is_refused(split: str, n: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        shapes.generate(split, n, 0)


def test_nothing_is_a_count_too() -> None:
    images, labels = shapes.generate("test", 0, 0)
    assert len(images) == len(labels) == 0
