"""What a parameter may be: its kind follows from the default in base.yaml, its bounds and choices stand here."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bakeoff.errors import nearest, shown

LAB = Path(__file__).parent / "lab"
MODELS = LAB / "models"

CHOICES: Mapping[str, tuple[str, ...]] = {
    "task": ("classes", "binary", "labels_only"),
    "color": ("rgb", "gray"),
    "scaling": ("unit", "minmax", "standardize", "symmetric", "caffe", "none"),
    "validation": ("none", "split", "test"),
    "validation_sampling": ("auto", "last", "stratified"),
    "validation_preprocessing": ("same", "raw"),
    "search": ("none", "tuner", "grid"),
    "weights": ("none", "imagenet"),
    "loss": ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"),
    "optimizer": ("adam", "adamw", "sgd", "rmsprop"),
    "precision": ("float32", "mixed_float16", "mixed_bfloat16"),
    "test_time_augmentation": ("none", "mirror_shifts"),
    "family": ("dense", "convolutional", "grayscale", "search", "transfer", "augmentation", "beyond"),
}
# Smallest and largest value; a number that is not named here must be at least 0.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "max_train_examples": (1, 1e9),
    "max_test_examples": (1, 1e9),
    "validation_split": (0.001, 0.999),
    "label_smoothing": (0, 0.999),
    "learning_rate": (1e-12, 1e6),
    "batch_size": (1, 1e6),
    "evaluation_batch_size": (1, 1e6),
    "steps_per_execution": (1, 1e6),
    "epochs": (0, 1e6),
    "search_epochs": (1, 1e6),
    "image_size": (0, 4096),
    "top_k": (1, 1e6),
    "seed": (0, 2**31 - 1),
    "data_seed": (0, 2**31 - 1),
    "replicates": (1, 1000),
    "stage_timeout_seconds": (1, 1e8),
    "max_epochs": (1, 1e6),
    "max_image_size": (8, 4096),
    "max_trials": (1, 1e6),
    "max_grid_points": (1, 1e6),
    "max_search_epochs": (1, 1e6),
    "max_replicates": (1, 1000),
    "max_threads": (1, 1e6),
    "gpu_share": (0.01, 1),
    "max_training_tflop": (1e-6, 1e12),
    "max_evaluation_tflop": (1e-6, 1e12),
}
# Texts that become parts of paths and addresses: none leads out of its folder.
PATTERNS: Mapping[str, tuple[str, str]] = {
    "dataset": (r"\w+(/\w[\w.-]*)?", "the name of a TFDS data set, such as cifar10 or mnist"),
    "weights_file": (r"(\w[\w-]*/\w[\w.-]*\.h5)?", "folder/file.h5 as keras.applications names it, or empty"),
}
LARGEST = 2**63 - 1  # numbers that computations can hold lie below
KEYS: Mapping[str, tuple[str, ...]] = {
    "augmentation": (
        "rotation_degrees",
        "shift",
        "shear_degrees",
        "zoom",
        "horizontal_flip",
        "crop_padding",
        "alternating_flip",
    ),
    "trainer_options": (
        "mirror",
        "feature_batch_size",
        "head_epochs",
        "head_learning_rate",
        "schedule",
        "last_epoch_share",
        "final_share",
        "bias_rate",
        "blend_steps",
        "whitening_bias_epochs",
    ),
}
TRAINING_NAMES = ("optimizer", "learning_rate")  # names of a search space that are no builder options


def fault(name: str, value: Any, default: Any) -> str | None:
    """Why `value` cannot be the parameter `name`, in words that follow its name; None when it can."""
    wanted = _kind(name, default)
    if value is None:
        return None if default is None else f"is empty; it must be {wanted}"
    if not _fits(value, wanted):
        return f"is {shown(value)}; it must be {wanted}"
    if _is_number(value):
        return _out_of_bounds(name, value)
    if name in CHOICES and value not in CHOICES[name]:
        return f"is {shown(value)}; {nearest(str(value), CHOICES[name])}"
    if name in PATTERNS and not re.fullmatch(PATTERNS[name][0], value, re.ASCII):
        return f"is {shown(value)}; it must be {PATTERNS[name][1]}"
    wrong = next((each for each in _numbers(value) if not abs(each) <= LARGEST), None)
    if wrong is not None:
        return f"holds {shown(wrong)}; each number in it must be finite and no larger than 2^63"
    if name in KEYS:
        return next(
            (f"has no {shown(key)}; {nearest(key, KEYS[name])}" for key in value if key not in KEYS[name]), None
        )
    return None


def builders() -> dict[str, str]:
    """Builder name -> module in bakeoff/lab/models."""
    return _registry(MODELS / "__init__.py", "BUILDERS")


def trainers() -> dict[str, str]:
    """Trainer name -> module in bakeoff/lab."""
    return _registry(LAB / "training.py", "TRAINERS")


@cache
def _registry(path: Path, name: str) -> dict[str, str]:
    """A module's literal `name`, read without importing any network library."""
    for node in ast.parse(path.read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise RuntimeError(f"{path} has no {name}")


@cache
def builder_options(builder: str) -> frozenset[str]:
    """The options that a builder's signature names, read without importing it."""
    tree = ast.parse((MODELS / f"{builders()[builder]}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == f"build_{builder}":
            names = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
            return frozenset(names) - {"input_shape", "num_classes", "weights", "image_size"}
    raise RuntimeError(f"{MODELS / builders()[builder]}.py has no build_{builder}")


def model_fault(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first fault of builder, builder_options and search_space against each other: (name, why)."""
    known = builders()
    builder = values["builder"]
    if builder not in known:
        return "builder", f"is {shown(builder)}; {nearest(builder, known)}"
    if values["trainer"] not in trainers():
        return "trainer", f"is {shown(values['trainer'])}; {nearest(values['trainer'], trainers())}"
    options = builder_options(builder)
    for name in values["builder_options"]:
        if name not in options:
            return "builder_options", f"has no {shown(name)} for {builder}; {nearest(name, options)}"
    return _space_fault(values["search"], values["search_space"], options | set(TRAINING_NAMES))


def _space_fault(search: str, space: Mapping[str, Any], known: frozenset[str] | set[str]) -> tuple[str, str] | None:
    if search != "none" and not space:
        return "search_space", "is empty; a search needs something to search"
    for name, choices in space.items():
        if name not in known:
            return "search_space", f"has no {shown(name)}; {nearest(name, known)}"
        ranged = isinstance(choices, dict) and set(choices) == {"min", "max", "step"}
        ranged = ranged and all(map(_is_number, choices.values()))
        if not ranged and not (isinstance(choices, list) and choices):
            return "search_space", f"gives {name!r} neither a list of values nor {{min, max, step}}"
        if ranged and (search == "grid" or not choices["min"] <= choices["max"] or choices["step"] <= 0):
            return "search_space", f"gives {name!r} a range that cannot be walked (a grid needs a list of values)"
    return None


def is_name(text: object) -> bool:
    """Whether `text` can be a parameter's name: an identifier. papermill runs anything else as code."""
    return isinstance(text, str) and text.isidentifier() and text.isascii() and not keyword.iskeyword(text)


def _kind(name: str, default: Any) -> str:
    if default is None:
        return "a number" if name.endswith("_tflop") else "a whole number"
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return "a whole number"
    if isinstance(default, float):
        return "a number"
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "a mapping of names to values"}
    return kinds[type(default)]


def _fits(value: Any, wanted: str) -> bool:
    return {
        "true or false": isinstance(value, bool),
        "a whole number": isinstance(value, int) and not isinstance(value, bool),
        "a number": _is_number(value) and abs(value) <= LARGEST,
        "text": isinstance(value, str),
        "a list": isinstance(value, list),
        "a mapping of names to values": isinstance(value, dict),
    }[wanted]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a value, however deep."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)
    elif _is_number(value):
        yield value


def _out_of_bounds(name: str, value: float) -> str | None:
    low, high = BOUNDS.get(name, (0, LARGEST))
    return None if low <= value <= high else f"is {shown(value)}; it must be between {low:g} and {high:g}"
