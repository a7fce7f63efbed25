"""The FLOPs of a network for one image: what the compute budget and the comparisons of cost need."""

from __future__ import annotations

import math

import keras
from keras import layers

GIGA = 1e9
_WITH_KERNELS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Dense,
)


def forward_gflop(model: keras.Model) -> float:
    """10^9 floating point operations of one image's way through `model`, two for each multiply-add.

    Convolutions (plain, depthwise, separable) and dense layers are counted, also those of nested models; additions
    of biases, normalisation, pooling and activations are not (a few per cent). A layer is counted once, even
    where a network uses it twice. A training step is about three times as much.

    Raises ValueError when a layer's output size is not known.
    """
    return sum(layer_gflop(layer) for layer in model.layers)


def layer_gflop(layer: keras.Layer) -> float:
    """The same for one layer, or for a model nested in another."""
    if isinstance(layer, keras.Model):
        return forward_gflop(layer)
    if not isinstance(layer, _WITH_KERNELS):
        return 0.0
    kernel_size = sum(math.prod(weight.shape) for weight in layer.weights if weight.name.endswith("kernel"))
    return 2 * kernel_size * _positions(layer) / GIGA


def _positions(layer: keras.Layer) -> int:
    """At how many places of its output (n, ..., channels) a layer applies its whole kernel."""
    places = layer.output.shape[1:-1]
    if None in places:
        raise ValueError(f"the number of FLOPs of {layer.name} is unknown: build the network for a fixed image size")
    return math.prod(places)
