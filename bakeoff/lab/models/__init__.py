"""The networks of the bake-off: an explicit registry of builders, and what the notebooks do with a network.

A builder is a function `build_<name>(input_shape, num_classes, **options) -> keras.Model` in one of this
package's modules. It is imported only when a variant asks for it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from bakeoff.lab.files import read_json, replacing, write_json
from bakeoff.lab.models.arithmetic import forward_gflop, layer_gflop
from bakeoff.lab.models.size import count_parameters, require_memory

# builder name -> module of this package
BUILDERS: dict[str, str] = {
    "dense_network": "dense",
    "conv_pool_network": "convolutional",
    "double_conv_network": "convolutional",
    "batchnorm_network": "convolutional",
    "tuner_network": "convolutional",
    "upsampled_base": "transfer",
    "feature_classifier_vgg16": "transfer",
    "feature_classifier_mobilenetv2": "transfer",
    "vgg16_labels": "transfer",
    "efficientnetv2_classifier": "transfer",
    "speedrun_cnn": "speedrun",
}
WEIGHTS = ("none", "random", "imagenet")
SUMMARY_CHARACTERS = 79  # the width at which Keras would cut longer lines
# What a reader wants to know of a layer besides its shapes; a layer has only some of them.
_SETTINGS = ("filters", "units", "kernel_size", "pool_size", "size", "padding", "activation", "rate")


@dataclass(frozen=True)
class LayerRow:
    """One layer as tables and picture show it; `contains` is the number of layers of a nested network, else 0."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch
    parameters: int
    trainable_parameters: int
    gflop: float
    contains: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Network:
    """What `network.json` holds: how to build a network again, and what it consists of."""

    builder: str
    options: dict[str, Any]
    weights: str
    image_size: int
    input_shape: tuple[int, int, int]
    num_classes: int
    seed: int
    parameters: int
    trainable_parameters: int
    non_trainable_parameters: int
    forward_gflop: float
    layers: tuple[LayerRow, ...]


def build(
    builder: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    options: Mapping[str, Any] | None = None,
    weights: str = "none",
    image_size: int = 0,
    seed: int = 0,
) -> keras.Model:
    """Build a network: images (n, *input_shape) float32 -> probabilities (n, num_classes).

    One class means one sigmoid unit, more mean a softmax. `weights` are none and random (both drawn from `seed`)
    or imagenet; they and `image_size` (pixels a side, 0 = as the images are) matter only to networks on a
    pretrained base. Equal arguments give equal bits.

    Raises ValueError for unknown names, missing options, images too small, weights that cannot be had, and a network
    that this machine's memory cannot hold, before any of it is taken.
    """
    function = _find_builder(builder)
    given = dict(options or {})
    _check_options(function, builder, given)
    check_name("weights", weights, WEIGHTS)
    shape = _check_shape(input_shape, num_classes)
    accepted = inspect.signature(function).parameters
    about_base = {"weights": weights, "image_size": int(image_size)}
    given |= {name: value for name, value in about_base.items() if name in accepted}
    empty = given | ({"weights": "none"} if "weights" in accepted else {})
    require_memory(count_parameters(lambda: function(shape, num_classes, **empty)), 1, "a network")
    keras.utils.set_random_seed(seed)
    return function(shape, num_classes, **given)


def searched_options(builder_options: Mapping[str, Any], inputs: Mapping[str, str] | None) -> dict[str, Any]:
    """The options to build with: the best values that the search stage found, or `builder_options` without one."""
    if not inputs or "search" not in inputs:
        return dict(builder_options)
    return dict(read_json(Path(inputs["search"]) / "best.json")["builder_options"])


def describe(
    model: keras.Model,
    folder: str | Path,
    *,
    builder: str,
    options: Mapping[str, Any],
    weights: str,
    image_size: int,
    input_shape: Sequence[int],
    num_classes: int,
    seed: int,
) -> Network:
    """Count the network's parameters and arithmetic; write summary.txt, then network.json, into `folder`."""
    rows = tuple(_layer_row(layer) for layer in model.layers)
    trainable = _count(model.trainable_weights)
    network = Network(
        builder=builder,
        options=dict(options),
        weights=weights,
        image_size=image_size,
        input_shape=_check_shape(input_shape, num_classes),
        num_classes=num_classes,
        seed=seed,
        parameters=model.count_params(),
        trainable_parameters=trainable,
        non_trainable_parameters=model.count_params() - trainable,
        forward_gflop=forward_gflop(model),
        layers=rows,
    )
    with replacing(Path(folder) / "summary.txt") as temporary:
        temporary.write_text(summary_text(model), encoding="utf-8")
    write_json(Path(folder) / "network.json", asdict(network))
    return open_network(folder)


def open_network(folder: str | Path) -> Network:
    """Read what `describe` wrote."""
    content = read_json(Path(folder) / "network.json")
    rows = [LayerRow(**row | {"output_shape": tuple(row["output_shape"])}) for row in content.pop("layers")]
    return Network(**content | {"input_shape": tuple(content["input_shape"]), "layers": tuple(rows)})


def rebuild(folder: str | Path) -> keras.Model:
    """The same untrained network that `describe` recorded in `folder`, bit for bit."""
    network = open_network(folder)
    return build(
        network.builder,
        network.input_shape,
        network.num_classes,
        options=network.options,
        weights=network.weights,
        image_size=network.image_size,
        seed=network.seed,
    )


def split_base(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Split a network after its layer `base`: images -> features, features -> probabilities. Weights are shared.

    Raises ValueError when there is no layer of that name, or nothing after it.
    """
    names = [layer.name for layer in model.layers]
    if "base" not in names[:-1]:
        raise ValueError(f"the network {model.name} has no layer named base to split after: it has {', '.join(names)}")
    features = model.layers[names.index("base") + 1].input
    base = keras.Model(model.input, features, name="features")
    return base, keras.Model(features, model.output, name="head")


def summary_text(model: keras.Model) -> str:
    """Keras' own summary of a network as text."""
    lines: list[str] = []
    model.summary(line_length=SUMMARY_CHARACTERS, print_fn=lines.append)
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()).strip() + "\n"


def classify(features: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """The last layer of every classifier: one sigmoid unit for one class, else a softmax, always in float32."""
    activation = "sigmoid" if num_classes == 1 else "softmax"
    return layers.Dense(num_classes, activation=activation, dtype="float32", name="probabilities")(features)


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError with the nearest known name when `name` is none of them."""
    names = list(known)
    if name in names:
        return
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "it takes none."
    raise ValueError(f"unknown {what} {name!r}: {hint}")


def require_side(images: keras.KerasTensor, side: int, layer: str) -> None:
    """Raise ValueError when feature maps (n, height, width, channels) are smaller than a layer's `side`."""
    height, width = images.shape[1:3]
    if min(height, width) < side:
        raise ValueError(
            f"the images are too small for this network: {layer} needs at least {side}x{side} pixels"
            f" and gets {height}x{width}; take larger images or fewer layers"
        )


def _find_builder(builder: str) -> Callable[..., keras.Model]:
    check_name("builder", builder, BUILDERS)
    module = importlib.import_module(f"{__name__}.{BUILDERS[builder]}")
    function: Callable[..., keras.Model] = getattr(module, f"build_{builder}")
    return function


def _check_options(function: Callable[..., keras.Model], builder: str, given: Mapping[str, Any]) -> None:
    reserved = {"input_shape", "num_classes", "weights", "image_size"}
    known = {name: p for name, p in inspect.signature(function).parameters.items() if name not in reserved}
    for name in given:
        check_name(f"option of {builder}", name, known)
    missing = [name for name, p in known.items() if p.default is inspect.Parameter.empty and name not in given]
    if missing:
        raise ValueError(f"{builder} needs the option {missing[0]}: add it to builder_options (missing: {missing})")


def _check_shape(input_shape: Sequence[int], num_classes: int) -> tuple[int, int, int]:
    shape = tuple(int(size) for size in input_shape)
    if len(shape) != 3 or min(shape) < 1 or num_classes < 1:
        raise ValueError(
            f"a network needs images (height, width, channels) and a class or more, not {shape} and {num_classes}"
        )
    return shape[0], shape[1], shape[2]


def _layer_row(layer: keras.Layer) -> LayerRow:
    config = {} if isinstance(layer, keras.Model) else layer.get_config()
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=tuple(int(size) for size in layer.output.shape[1:]),
        parameters=layer.count_params(),
        trainable_parameters=_count(layer.trainable_weights),
        gflop=layer_gflop(layer),
        contains=len(layer.layers) if isinstance(layer, keras.Model) else 0,
        settings={name: config[name] for name in _SETTINGS if config.get(name) not in (None, "linear")},
    )


def _count(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
