"""The arithmetic of one image, against sums done by hand and against the figures known for large networks."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from bakeoff.lab import models
from bakeoff.lab.models.flops import forward_gflop


def sequence(input_shape: tuple[int, ...], *steps: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(input_shape), *steps])


def multiply_adds(model: keras.Model) -> float:
    return forward_gflop(model) * 1e9 / 2


def test_a_dense_layer_uses_each_weight_once() -> None:
    assert multiply_adds(sequence((20,), layers.Dense(7))) == pytest.approx(20 * 7)


def test_a_dense_layer_on_a_sequence_works_at_each_place() -> None:
    assert multiply_adds(sequence((5, 20), layers.Dense(7))) == pytest.approx(5 * 20 * 7)


def test_a_convolution_works_at_each_place_of_its_output() -> None:
    assert multiply_adds(sequence((10, 12, 3), layers.Conv2D(8, 3))) == pytest.approx(8 * 10 * 3 * 3 * 3 * 8)
    halved = sequence((10, 12, 3), layers.Conv2D(8, 3, strides=2, padding="same"))
    assert multiply_adds(halved) == pytest.approx(5 * 6 * 3 * 3 * 3 * 8)


def test_groups_divide_the_work() -> None:
    assert multiply_adds(sequence((4, 4, 6), layers.Conv2D(8, 1, groups=2))) == pytest.approx(16 * 3 * 8)


def test_depthwise_and_separable_convolutions() -> None:
    depthwise = sequence((8, 8, 4), layers.DepthwiseConv2D(3, padding="same"))
    assert multiply_adds(depthwise) == pytest.approx(64 * 9 * 4)
    separable = sequence((8, 8, 4), layers.SeparableConv2D(16, 3, padding="same"))
    assert multiply_adds(separable) == pytest.approx(64 * (9 * 4 + 4 * 16))


def test_layers_without_kernels_are_free() -> None:
    model = sequence((8, 8, 4), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Activation("relu"))
    assert forward_gflop(model) == 0


def test_a_nested_model_counts_like_its_layers() -> None:
    inner = sequence((8, 8, 3), layers.Conv2D(4, 3), layers.Flatten())
    outer = sequence((8, 8, 3), inner, layers.Dense(2))
    assert multiply_adds(outer) == pytest.approx(36 * 27 * 4 + 144 * 2)


def test_a_small_network_by_hand() -> None:
    options = {"filters": [32, 64], "kernel_size": 3, "padding": "valid", "dense_units": 64}
    model = models.build("conv_pool_network", (32, 32, 3), 10, options=options)
    by_hand = 30 * 30 * 27 * 32 + 13 * 13 * 9 * 32 * 64 + 2304 * 64 + 64 * 10
    assert multiply_adds(model) == pytest.approx(by_hand)


def test_an_open_image_size_is_refused() -> None:
    images = keras.Input((None, None, 3))
    model = keras.Model(images, layers.Conv2D(4, 3, name="first")(images))
    with pytest.raises(ValueError, match="first is unknown: build the network for a fixed image size"):
        forward_gflop(model)
