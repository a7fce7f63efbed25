"""The networks of the bake-off by name, and what the notebooks do with a network.

A network is a function `name(input_shape, num_classes, **options) -> keras.Model` in one of this package's modules,
written so that it can be read: `listing(name)` is what the build notebook and the report print. A module is imported
only when a variant asks for one of its networks.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import inspect
import math
import random
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from bakeoff.lab.files import read_json, replacing, write_json
from bakeoff.lab.models.flops import forward_gflop, layer_gflop
from bakeoff.lab.models.size import count_parameters, require_memory

OWN = Path(__file__).parents[3] / "own_networks"  # copies of networks from outside the package, where a run made them
WEIGHTS = ("none", "random", "imagenet")
_ARGUMENTS = ("input_shape", "num_classes")  # of every network
_RESERVED = {*_ARGUMENTS, "weights", "image_size"}  # parameters of their own
SUMMARY_CHARACTERS = 79  # the width at which Keras would cut longer lines
# What a reader wants to know of a layer besides its shapes; a layer has only some of them.
_SETTINGS = ("filters", "units", "kernel_size", "pool_size", "size", "padding", "activation", "rate")


class NetworkError(ValueError):
    """A network that cannot be built, in one sentence."""


@dataclass(frozen=True)
class LayerRow:
    """One layer as tables and diagram show it; `contains` is the number of layers of a nested network, else 0."""

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


Builder = Callable[..., keras.Model]


def networks() -> dict[str, str]:
    """The networks of this package: name -> module. They are the functions of (input_shape, num_classes, ...)."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and [each.arg for each in node.args.args[:2]] == list(_ARGUMENTS):
                found[node.name] = path.stem
    return {name: module for name, module in found.items() if not name.startswith("_")}


def find_network(builder: str) -> Builder:
    """The function of this name, called as `network(input_shape, num_classes, **options)`.

    `builder` is one of `networks()`, or a function of a file or module: "./my_net.py:build", "package.module:build".

    The function that is returned refuses unknown options and shapes, and says in one sentence why a network cannot be
    built. Raises ValueError with the nearest name when there is none.
    """
    function = _own_function(builder) if ":" in builder else _function(builder)

    @functools.wraps(function)
    def network(input_shape: Sequence[int], num_classes: int, **options: Any) -> keras.Model:
        shape = _check_shape(input_shape, num_classes)
        _check_options(function, builder, options)
        try:
            if set(options) - _RESERVED:  # those without options have their size in place
                _require_memory(lambda: function(shape, num_classes, **options))
            model = function(shape, num_classes, **options)
        except NetworkError:
            raise
        except Exception as error:
            size = "x".join(map(str, shape))
            where = _line(Path(inspect.getfile(function)), error) if _is_own(builder, function) else ""
            raise NetworkError(f"{where}{builder} cannot be built for images of {size}: {_reason(error)}") from error
        if ":" in builder:
            check_output(function, model, num_classes)
        return model

    return network


def _function(builder: str) -> Builder:
    known = networks()
    check_name("builder", builder, known)
    function: Builder = getattr(_imported(f"{__name__}.{known[builder]}", Path(__file__).parent), builder)
    return function


def _own_function(builder: str) -> Builder:
    """A function from outside the package; its file is read anew each time."""
    place, _, name = builder.rpartition(":")
    module = _own_file(place) if place.endswith(".py") else _own_module(place)
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{place} has no function {name}: write one, or name another after the colon")
    function: Builder = getattr(module, name)
    return function


def _own_file(place: str) -> ModuleType:
    path = OWN / place if (OWN / place).is_file() else Path(place).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {path}: write the path of {place} as seen from {Path.cwd()}")
    spec: Any = importlib.util.spec_from_file_location(f"own_network_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    with _said_with_line(path.name, path):
        spec.loader.exec_module(module)
    return module


def _own_module(place: str) -> ModuleType:
    if OWN.is_dir() and str(OWN) not in sys.path:
        sys.path.insert(0, str(OWN))
    return _imported(place, OWN if OWN.is_dir() else Path.cwd())


def _imported(name: str, folder: Path) -> ModuleType:
    """A module; what is raised while it is imported is said with the line in this folder."""
    with _said_with_line(name, folder):
        return importlib.import_module(name)


@contextmanager
def _said_with_line(name: str, place: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NetworkError(f"{_line(place, error)}{name} cannot be imported: {_reason(error)}") from error


def _is_own(builder: str, function: Builder) -> bool:
    """Whether a network is the user's: from outside the package, or in a file of its own name, as --new writes it."""
    return ":" in builder or function.__module__ == f"{__name__}.{builder}"


def _line(place: Path, error: Exception) -> str:
    """Where in a file, or in a folder's files, an error arose, as "file:line: "; nothing where it arose elsewhere."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename != __file__]
    inside = [each for each in frames if Path(each.filename).is_relative_to(place)]
    return f"{Path(inside[-1].filename).name}:{inside[-1].lineno}: " if inside else ""


def check_output(function: Builder, model: Any, num_classes: int) -> None:
    """Raise NetworkError, with file and line, unless what a function returned has an output for each class."""
    function = inspect.unwrap(function)
    place = f"{Path(inspect.getfile(function)).name}:{function.__code__.co_firstlineno}: {function.__name__}"
    if not isinstance(model, keras.Model):
        raise NetworkError(f"{place} returns {type(model).__name__}; it must return a keras.Model")
    shape = getattr(model, "output_shape", None)
    if shape != (None, num_classes):
        classes = "class" if num_classes == 1 else "classes"
        raise NetworkError(
            f"{place} has outputs of shape {shape}; for {num_classes} {classes} its last layer must give "
            f"(None, {num_classes})"
        )


def listing(builder: str) -> str:
    """The source text of a network's function and of the functions of its module that it calls."""
    function = inspect.unwrap(find_network(builder))
    module = inspect.getmodule(function)
    called = [getattr(module, name, None) for name in function.__code__.co_names]
    local = [each for each in called if inspect.isfunction(each) and each.__module__ == function.__module__]
    return "\n\n".join(inspect.getsource(each) for each in [function, *local])


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
    network = find_network(builder)
    keras.utils.set_random_seed(seed)
    return network(input_shape, num_classes, **network_options(builder, options or {}, weights, image_size))


def network_options(
    builder: str, options: Mapping[str, Any], weights: str = "none", image_size: int = 0
) -> dict[str, Any]:
    """`options` with `weights` and `image_size` where the network takes them, as those on a pretrained base do.

    Raises ValueError for options that the network does not take.
    """
    check_name("weights", weights, WEIGHTS)
    function = inspect.unwrap(find_network(builder))
    for name in options:
        check_name(f"option of {builder}", name, set(inspect.signature(function).parameters) - _RESERVED)
    about_base = {"weights": weights, "image_size": int(image_size)}
    accepted = inspect.signature(function).parameters
    return dict(options) | {name: value for name, value in about_base.items() if name in accepted}


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
    """Count the network's parameters and FLOPs; write summary.txt, then network.json, into `folder`."""
    whole = keras.Model(model.inputs[0], model.outputs[0])  # a Sequential one does not list its input
    rows = tuple(_layer_row(layer) for layer in whole.layers)
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


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError with the nearest known name when `name` is none of them."""
    names = list(known)
    if name in names:
        return
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "it takes none."
    raise ValueError(f"unknown {what} {name!r}: {hint}")


def _check_options(function: Builder, builder: str, given: Mapping[str, Any]) -> None:
    known = {name: p for name, p in inspect.signature(function).parameters.items() if name not in _ARGUMENTS}
    for name in given:
        check_name(f"option of {builder}", name, known)
    missing = [name for name, p in known.items() if p.default is inspect.Parameter.empty and name not in given]
    if missing:
        raise ValueError(f"{builder} needs the option {missing[0]}: add it to builder_options (missing: {missing})")


def _require_memory(make: Callable[[], keras.Model]) -> None:
    """Raise NetworkError for a network larger than this machine's memory, before any of it is taken.

    The random numbers that the network's initial weights are drawn from stay as they were.
    """
    state = random.getstate()
    parameters = count_parameters(make)
    random.setstate(state)
    try:
        require_memory(parameters, 1, "a network")
    except ValueError as error:
        raise NetworkError(str(error)) from None


def _reason(error: Exception) -> str:
    """An error in one sentence; Keras puts its own in the middle of a page about a layer's call."""
    text = str(error).strip() or type(error).__name__
    if "negative" in text.lower():
        return "feature maps become too small for a layer; take larger images or another network"
    return " ".join(text.splitlines()[0].split())


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
