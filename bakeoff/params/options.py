"""What the mappings among the parameters may hold: options of builders, trainers, optimizers and augmentation.

Names come from the code that takes them, read without importing it; what a value may be stands here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bakeoff.errors import nearest, shown
from bakeoff.params import own_network
from bakeoff.params.own_network import OwnNetwork

LAB = Path(__file__).parents[1] / "lab"
MODELS = LAB / "models"
_OF_THE_IMAGES = {"input_shape", "num_classes", "weights", "image_size"}  # arguments of builders that are no options


@dataclass(frozen=True)
class Kind:
    """What a value may be, in words that follow "it must be"."""

    words: str
    fits: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)  # the same in JSON Schema's words


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(low: float, high: float, below: bool = False) -> Kind:
    """A number from `low` to `high`, or to below it."""
    words = f"a number from {low:g} to {'below ' if below else ''}{high:g}"
    top = {"exclusiveMaximum" if below else "maximum": high}
    return Kind(
        words,
        lambda value: is_number(value) and low <= value and (value < high or (value == high and not below)),
        {"type": "number", "minimum": low, **top},
    )


def whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""
    return Kind(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        {"type": "integer", "minimum": low, "maximum": high},
    )


def one_of(*values: str | int) -> Kind:
    """One of a few words or numbers."""
    words = f"one of {', '.join(map(str, values))}"
    return Kind(words, lambda value: not isinstance(value, bool) and value in values, {"enum": list(values)})


def a_list(kind: Kind) -> Kind:
    """A list of values of a kind."""
    fits = kind.fits
    return Kind(
        f"a list, each value of it {kind.words}",
        lambda value: isinstance(value, list) and all(map(fits, value)),
        {"type": "array", "items": dict(kind.schema)},
    )


FLAG = Kind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
TEXT = Kind("text", lambda value: isinstance(value, str), {"type": "string"})
ANYTHING = Kind("a value", lambda value: True)
_RATE, _SHARE = number(0, 1, below=True), number(0, 1)
_FILTERS, _UNITS, _SIDE = whole(1, 65536), whole(1, 10**6), whole(1, 4096)

AUGMENTATION: Mapping[str, Kind] = {
    "rotation_degrees": number(0, 360, below=True),
    "shift": number(0, 1, below=True),
    "shear_degrees": number(0, 90, below=True),
    "zoom": number(0, 1, below=True),
    "horizontal_flip": FLAG,
    "crop_padding": whole(0, 1023),
    "alternating_flip": FLAG,
    "cutout": whole(0, 1023),
}
# The ways of training, each with its own notebook, and what their options may be.
TRAINERS: Mapping[str, Mapping[str, Kind]] = {
    "fit": {},
    "feature_extraction": {"mirror": FLAG, "feature_batch_size": whole(1, 10**6)},
    "fine_tune": {
        "head_epochs": whole(0, 10**6),
        "head_learning_rate": number(1e-12, 1e6),
        "schedule": one_of("cosine", "constant"),
        "final_share": _SHARE,
    },
    "airbench": {
        "last_epoch_share": number(0.001, 1),
        "bias_scaler": number(1e-6, 1e6),
        "lookahead_steps": whole(1, 10**6),
        "whitening_bias_epochs": whole(0, 10**6),
    },
    "none": {},
}
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")
_OF_EACH_OPTIMIZER: Mapping[str, Kind] = {
    "weight_decay": number(0, 1e6),
    **dict.fromkeys(_CLIPS, number(1e-12, 1e12)),
    "use_ema": FLAG,
    "ema_momentum": _SHARE,
    "ema_overwrite_frequency": whole(1, 10**9),
    "loss_scale_factor": number(1e-12, 1e12),
    "gradient_accumulation_steps": whole(2, 10**6),
}
_ADAM = {"beta_1": _RATE, "beta_2": _RATE, "epsilon": number(1e-30, 1e6), "amsgrad": FLAG, **_OF_EACH_OPTIMIZER}
OPTIMIZER: Mapping[str, Mapping[str, Kind]] = {
    "adam": _ADAM,
    "adamw": _ADAM,
    "sgd": {"momentum": _SHARE, "nesterov": FLAG, **_OF_EACH_OPTIMIZER},
    "rmsprop": {
        "rho": _RATE,
        "momentum": _SHARE,
        "epsilon": number(1e-30, 1e6),
        "centered": FLAG,
        **_OF_EACH_OPTIMIZER,
    },
}
# One value of a builder's option; that an option takes a list of them is said by the builder's signature.
_BUILDER: Mapping[str, Kind] = {
    **dict.fromkeys(("filters", "conv1_filters", "conv2_filters", "widths"), _FILTERS),
    **dict.fromkeys(("units", "dense_units", "hidden_units"), _UNITS),
    **dict.fromkeys(("kernel_size", "conv1_kernel", "conv2_kernel", "pool_size"), _SIDE),
    "padding": one_of("same", "valid"),
    **dict.fromkeys(("dropout", "dense_dropout"), _RATE),
    **dict.fromkeys(("l1", "l2"), number(0, 1e6)),
}
_BY_ANNOTATION = {"int": whole(-(2**63), 2**63 - 1), "float": number(-1e300, 1e300), "str": TEXT, "bool": FLAG}


@dataclass(frozen=True)
class Builder:
    """A builder's signature: its options with what each may be, those without a default, and what else it takes."""

    options: Mapping[str, Kind]
    needed: frozenset[str]
    takes_weights: bool


def mapping_fault(value: Mapping[str, Any], known: Mapping[str, Kind], of: str = "") -> str | None:
    """Why a mapping of options cannot be, in words that follow the parameter's name; None when it can."""
    for name, each in value.items():
        if name not in known:
            return f"has no {shown(name)}{of}; {nearest(name, known) if known else 'it takes none'}"
        if not known[name].fits(each):
            return f"has {name!r} {shown(each)}; it must be {known[name].words}"
    return None


def optimizer_fault(optimizer: str, value: Mapping[str, Any]) -> str | None:
    """`mapping_fault` of an optimizer's options."""
    clips = [name for name in _CLIPS if name in value]
    if len(clips) > 1:
        return f"has {' and '.join(clips)}; give one of them"
    return mapping_fault(value, OPTIMIZER[optimizer], f" for {optimizer}")


@cache
def builders() -> dict[str, str]:
    """The package's networks: name -> module in bakeoff/lab/models, found by their first two arguments.

    Read once, when a command checks its parameters, and not from the snapshot that it executes: a network that is added
    during a run is in no key of its plan, and the next command knows it.
    """
    return {name: path.stem for path in sorted(MODELS.glob("[!_]*.py")) for name in _networks(path)}


def is_users(builder: str) -> bool:
    """Whether a network is none of the catalogue: from outside, or in a file of its own name, as --new writes it."""
    return own_network.is_own(builder) or builders()[builder] == builder


def builder(name: str, find: Callable[[str], OwnNetwork]) -> Builder:
    """What a builder's signature says, read without importing it; `find` reads one of the user's own."""
    own = own_network.is_own(name)
    return _signature(find(name).function if own else _networks(MODELS / f"{builders()[name]}.py")[name])


@cache
def _signature(function: ast.FunctionDef) -> Builder:
    positional, keyword = function.args.args, function.args.kwonlyargs
    with_default = {argument.arg for argument in positional[len(positional) - len(function.args.defaults) :]}
    with_default |= {a.arg for a, default in zip(keyword, function.args.kw_defaults, strict=True) if default}
    taken = {argument.arg: argument.annotation for argument in positional + keyword}
    kinds = {each: _kind(each, note) for each, note in taken.items() if each not in _OF_THE_IMAGES}
    return Builder(kinds, frozenset(kinds) - with_default, "weights" in taken)


@cache
def _networks(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions of a file that build a network, by name."""
    functions = own_network.top_functions(path, path.read_bytes())
    return {
        name: each for name, each in functions.items() if own_network.takes_images(each) and not name.startswith("_")
    }


def _kind(name: str, annotation: ast.expr | None) -> Kind:
    """What an option may be: one value, a list of them, or either."""
    said = ast.unparse(annotation) if annotation else ""
    inner = re.search(r"Sequence\[(\w+)\]", said)
    one = _BUILDER.get(name) or _BY_ANNOTATION.get(inner[1] if inner else said, ANYTHING)
    if inner is None:
        return one
    several = a_list(one)
    if said == inner[0]:
        return several
    both = {"anyOf": [dict(one.schema), dict(several.schema)]}
    return Kind(f"{one.words}, or a list of such", lambda value: one.fits(value) or several.fits(value), both)
