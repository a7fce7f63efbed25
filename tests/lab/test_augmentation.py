from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bakeoff.lab import augmentation
from bakeoff.lab.augmentation import augment

PUBLISHED = {"rotation_degrees": 20, "shift": 0.2, "shear_degrees": 0.2, "zoom": 0.2, "horizontal_flip": True}


def random_images(n: int = 6, shape: tuple[int, int, int] = (9, 12, 3)) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (n, *shape), dtype=np.uint8)


def changed(
    images: np.ndarray, options: dict[str, Any], seed: int = 0, seed_of_flips: int = 0, **more: Any
) -> np.ndarray:
    return augment(images, np.random.default_rng(seed), options, seed=seed_of_flips, **more)


def by_scipy(image: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One image through an affine map about its middle, by scipy: bilinear, nearest beyond the edge."""
    middle = (np.array(image.shape[:2]) - 1) / 2
    offset = middle + shift - matrix @ middle
    planes = [
        ndimage.affine_transform(image[..., k].astype(float), matrix, offset, order=1, mode="nearest")
        for k in range(image.shape[-1])
    ]
    return np.stack(planes, axis=-1)


@pytest.mark.parametrize("shape", [(9, 12, 3), (28, 28, 1)])
def test_sampling_agrees_with_scipy(shape: tuple[int, int, int]) -> None:
    images = random_images(40, shape)
    options = {"rotation_degrees": 40, "shift": 0.3, "shear_degrees": 30, "zoom": 0.4}
    matrices, shifts = augmentation._affine_maps(np.random.default_rng(0), 40, *shape[:2], options)
    expected = [by_scipy(*one) for one in zip(images, matrices, shifts, strict=True)]
    assert np.allclose(changed(images, options), expected, atol=0.02)


def test_maps_are_put_together_as_image_data_generator_did() -> None:
    """Rotation . shift . shear . zoom in (x, y), each drawn by itself here."""
    options = {"rotation_degrees": 30, "shift": 0.5, "shear_degrees": 40, "zoom": 0.3}
    matrix, shift = (part[0] for part in augmentation._affine_maps(np.random.default_rng(1), 1, 10, 20, options))
    draw = np.random.default_rng(1)
    turn, move = np.deg2rad(30 * draw.uniform(-1, 1)), draw.uniform(-0.5, 0.5, 2) * (20, 10)
    lean, zoom = np.deg2rad(40 * draw.uniform(-1, 1)), 1 + draw.uniform(-0.3, 0.3, 2)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    shifting = np.array([[1, 0, move[0]], [0, 1, move[1]], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(lean), 0], [0, np.cos(lean), 0], [0, 0, 1]])
    whole = rotation @ shifting @ shearing @ np.diag([*zoom, 1])
    assert np.allclose(matrix, whole[1::-1, 1::-1])
    assert np.allclose(shift, whole[1::-1, 2])


def test_same_seed_same_images_and_the_originals_stay() -> None:
    images = random_images()
    before = images.copy()
    first, again, other = changed(images, PUBLISHED), changed(images, PUBLISHED), changed(images, PUBLISHED, seed=1)
    assert first.dtype == np.float32
    assert first.shape == images.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(images, before)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(50)
    whole = changed(images, PUBLISHED)
    monkeypatch.setattr(augmentation, "_BLOCK", 7)
    assert np.array_equal(changed(images, PUBLISHED), whole)


def test_without_options_images_are_copied_as_they_are() -> None:
    images = random_images().astype(np.float32)
    copy = changed(images, {})
    assert np.array_equal(copy, images)
    assert copy is not images
    assert not np.shares_memory(copy, images)


def test_flips_mirror_about_half_of_the_images_with_or_without_a_map() -> None:
    images = random_images(400, (4, 5, 3))
    plain = changed(images, {"horizontal_flip": True})
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(plain, images, strict=True)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(plain, images, strict=True)])
    assert np.all(mirrored ^ kept)
    assert 150 < mirrored.sum() < 250
    through_map = changed(images, {"horizontal_flip": True, "zoom": 1e-9})
    assert np.allclose(through_map, plain, atol=0.01)


def test_flip_follows_the_map() -> None:
    images = random_images(30)
    turned = changed(images, {"rotation_degrees": 20, "alternating_flip": True}, ids=np.arange(30), epoch=0)
    other = changed(images, {"rotation_degrees": 20, "alternating_flip": True}, ids=np.arange(30), epoch=1)
    assert np.allclose(turned, other[:, :, ::-1], atol=0.02)


def test_alternating_flip_mirrors_each_image_every_second_epoch() -> None:
    images, ids = random_images(300, (4, 5, 1)), np.array([f"train_{i}" for i in range(300)])
    epochs = [changed(images, {"alternating_flip": True}, ids=ids, epoch=epoch) for epoch in range(3)]
    assert np.array_equal(epochs[0], epochs[1][:, :, ::-1])
    assert np.array_equal(epochs[0], epochs[2])
    kept = [np.array_equal(a, b) for a, b in zip(epochs[0], images, strict=True)]
    assert 110 < sum(kept) < 190
    part = changed(images[40:60], {"alternating_flip": True}, ids=ids[40:60], epoch=0)
    assert np.array_equal(part, epochs[0][40:60])


def test_alternating_flip_differs_from_seed_to_seed() -> None:
    images, ids, options = random_images(300, (4, 5, 1)), np.arange(300), {"alternating_flip": True}
    for other in (1, 2, 3):
        one, two = (changed(images, options, ids=ids, seed_of_flips=seed) for seed in (0, other))
        same = [np.array_equal(a, b) for a, b in zip(one, two, strict=True)]
        assert 110 < sum(same) < 190  # neither the same flips nor their opposites


def test_alternating_flip_asks_for_ids() -> None:
    with pytest.raises(ValueError, match="ids"):
        changed(random_images(), {"alternating_flip": True})


def test_crops_are_pieces_of_the_reflected_image() -> None:
    images = random_images(200, (6, 7, 3))
    crops = changed(images, {"crop_padding": 2})
    seen = set()
    for image, crop in zip(images, crops, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        starts = [(r, c) for r in range(5) for c in range(5) if np.array_equal(padded[r : r + 6, c : c + 7], crop)]
        assert len(starts) == 1
        seen.update(starts)
    assert len(seen) == 25


def test_cutout_gives_one_whole_square_the_mean_of_its_image() -> None:
    images = random_images(200, (6, 7, 3))
    places = set()
    for image, cut in zip(images, changed(images, {"cutout": 3}), strict=True):
        rows, columns = np.nonzero(np.any(image != cut, axis=-1))
        assert np.ptp(rows) == np.ptp(columns) == 2
        square = cut[rows.min() : rows.min() + 3, columns.min() : columns.min() + 3]
        np.testing.assert_allclose(square, np.broadcast_to(image.mean(axis=(0, 1)), square.shape), rtol=1e-5)
        places.add((rows.min(), columns.min()))
    assert len(places) == 20  # anywhere in the image, and never beyond its edge


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"rotation": 20}, "did you mean rotation_degrees"),
        ({"brightness": 1}, "known are"),
        ({"zoom": 1.0}, "below 1"),
        ({"shift": -0.1}, "from 0"),
        ({"shift": "much"}, "share of the side"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        augmentation.validate(options)


def test_padding_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="make it smaller"):
        changed(random_images(), {"crop_padding": 9})
    with pytest.raises(ValueError, match="make it smaller"):
        changed(random_images(), {"cutout": 33})


def test_published_options_are_fast() -> None:
    images = random_images(512, (32, 32, 3))
    changed(images, PUBLISHED)
    start = time.process_time()
    changed(images, PUBLISHED)
    assert 512 / (time.process_time() - start) > 4000  # 30 000 images a second measured on one core
