"""The build page's figures and sentences, on real networks small, nested and deep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import matplotlib
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from bakeoff.lab import models
from bakeoff.lab.plots import network as figures
from bakeoff.lab.plots import network_tables as tables

SIMPLE = {"filters": [32, 64], "kernel_size": 3, "padding": "valid", "dense_units": 64}


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    keras.backend.clear_session()  # as in a fresh kernel, where names are counted from the beginning
    yield
    plt.close("all")


def described(folder: Path, model: keras.Model, builder: str = "conv_pool_network", **facts: Any) -> models.Network:
    facts = {"options": SIMPLE, "weights": "none", "image_size": 0, "seed": 0} | facts
    shape = tuple(model.input_shape[1:])
    return models.describe(model, folder, builder=builder, input_shape=shape, num_classes=10, **facts)


@pytest.fixture
def simple(tmp_path: Path) -> models.Network:
    return described(tmp_path, models.build("conv_pool_network", (32, 32, 3), 10, options=SIMPLE))


def test_small_layers_join_the_one_before(simple: models.Network) -> None:
    found = figures.boxes(simple)
    assert [box.lines[0] for box in found] == ["image", *["convolution", "max pooling"] * 2, "dense", "dense"]
    assert found[4].lines == ("max pooling", "2×2", "+ flatten")
    assert sum(box.parameters for box in found) == simple.parameters


def test_the_diagram_and_its_words(simple: models.Network) -> None:
    drawn = {text.get_text() for axis in figures.diagram(simple).axes for text in axis.texts}
    assert {"32×32×3", "13×13×64", "10", "convolution\n3×3 relu"} <= drawn
    words = figures.diagram_alt(simple)
    assert words.startswith("A drawing of conv_pool_network from left to right: image (32×32×3); convolution 3×3 relu")
    assert words.endswith("dense softmax (10).")


def test_a_nested_base_is_one_box(tmp_path: Path) -> None:
    model = models.build("mobilenetv2_transfer", (32, 32, 3), 10, image_size=64)
    network = described(tmp_path, model, "mobilenetv2_transfer", options={})
    base = next(box for box in figures.boxes(network) if box.name == "base")
    assert base.lines == ("base", "155 layers", "frozen")
    assert figures.diagram(network).axes
    assert "base" in tables.where_sentence(network)


def test_three_hundred_layers_stay_readable(tmp_path: Path) -> None:
    steps: list[keras.Layer] = []
    for number in range(100):
        steps += [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization(), keras.layers.ReLU()]
        steps += [keras.layers.MaxPooling2D()] if number % 25 == 24 else []
    model = keras.Sequential([keras.Input((32, 32, 3)), *steps, keras.layers.Flatten(), keras.layers.Dense(10)])
    network = described(tmp_path, model)
    found = figures.boxes(network)
    assert len(found) <= figures.MOST_BOXES
    assert sum(box.layers for box in found) == len(network.layers) > 300
    assert sum(box.parameters for box in found) == network.parameters
    assert len(figures.diagram(network).axes) <= 3
    assert figures.where(network).axes


def test_the_bars_say_where_the_parameters_sit(simple: models.Network) -> None:
    left, right = figures.where(simple).axes
    assert [label.get_text() for label in left.get_yticklabels()][2] == "dense"
    assert [text.get_text() for text in left.texts] == ["0.5 %", "11.0 %", "88.0 %", "0.4 %"]
    assert right.texts[-1].get_text() == "under 0.1 %"
    assert "dense 88.0 % of the parameters and 3.6 % of the FLOPs" in figures.where_alt(simple)
    sentence = "Dense holds 88.0 % of the parameters; conv2d 1 takes 77.1 % of the FLOPs."
    assert tables.where_sentence(simple) == sentence


def test_counts_beside_the_sources(simple: models.Network) -> None:
    assert "exactly as many as the source prints" in tables.parameter_sentence(simple, {"parameters": 167_562})
    assert "no printed count" in tables.parameter_sentence(simple, {})
    other = tables.parameter_sentence(simple, {"parameters": 150_000})
    assert "the source prints 150 000.** The two can only agree where" in other
    assert "%" not in other, "no difference: networks on other data have other counts"
    table = tables.parameter_table(simple, {"parameters": 167_562, "trainable": 167_000})
    assert table["the source"].tolist() == ["167 562", "167 000", "562"]
    assert "difference" not in table
    assert tables.parameter_table(simple, {})["the source"].unique().tolist() == ["not printed"]


def test_what_it_is_built_with(simple: models.Network) -> None:
    plain = tables.options_table(simple, {})
    assert dict(zip(plain["option"], plain["built with"], strict=True))["filters"] == "32, 64"
    searched = tables.options_table(simple, {"best": {"dense_units": 512}})
    assert searched["the source's best"].tolist() == ["", "", "", "512", "", ""]


def test_what_an_image_costs(simple: models.Network) -> None:
    sentence = tables.cost_sentence(simple)
    assert "**8.08 MFLOP**" in sentence
    assert "24.2 GFLOP for every 1 000 images" in sentence
    untrained = tables.cost_sentence(simple, trained=False)
    assert "8.08 MFLOP" in untrained and "Nothing is trained" in untrained and "for every" not in untrained


def test_a_frozen_base_costs_no_training_of_all_parameters(simple: models.Network) -> None:
    frozen = replace(simple.layers[1], trainable_parameters=0)
    network = replace(simple, layers=(frozen, *simple.layers[2:]), trainable_parameters=12_810)
    sentence = tables.cost_sentence(network)
    assert "only 12 810 of its 167 562 parameters are trained" in sentence
    assert "for every 1 000 images" not in sentence


def test_pixels_that_are_not_those_of_the_weights_are_named(stages: Callable[..., Any]) -> None:
    unit, caffe, symmetric = (stages(train=20, scaling=name).prepared for name in ("unit", "caffe", "symmetric"))
    for prepared, right in ((unit, False), (caffe, True), (symmetric, False)):
        words = tables.pixels_words(prepared, "vgg16_transfer", "imagenet")
        assert ("are not scaled" in words) != right and "`caffe`" in words
    assert "are scaled as" in tables.pixels_words(symmetric, "inceptionv3_transfer", "imagenet")
    for builder, weights in (("vgg16_transfer", "random"), ("ann", "none")):
        assert "No pretrained weights" in tables.pixels_words(unit, builder, weights)
