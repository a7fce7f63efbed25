"""What a parameter may be: its kind follows from the default in base.yaml, its bounds and choices stand here."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bakeoff.errors import nearest, shown
from bakeoff.params import options, own_network
from bakeoff.params.options import is_number
from bakeoff.params.own_network import OwnNetwork

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
    "max_batch_size": (1, 1e6),
    "max_image_size": (8, 4096),
    "max_trials": (1, 1e6),
    "max_grid_points": (1, 1e6),
    "max_search_epochs": (1, 1e6),
    "max_replicates": (1, 1000),
    "max_threads": (1, 1e6),
    "gpu_share": (0.01, 1),
    "max_training_tflop": (1e-6, 1e12),
    "max_evaluation_tflop": (1e-6, 1e12),
    "max_random_tflop": (1e-6, 1e12),
}
OWN_IMAGES = ("folder:PATH", "npz:FILE", "csv:FILE", "hf:OWNER/NAME")
# Texts that become parts of paths and addresses: none leads out of its folder.
PATTERNS: Mapping[str, tuple[str, str]] = {
    "dataset": (
        r"\w+(/\w[\w.-]*)?|[a-z]+:[^\x00-\x1f]+",
        f"the name of a TFDS data set, such as cifar10 or mnist, or images of your own: {', '.join(OWN_IMAGES)}",
    ),
    "weights_file": (r"(\w[\w-]*/\w[\w.-]*\.h5)?", "folder/file.h5 as keras.applications names it, or empty"),
}
LARGEST = 2**63 - 1  # numbers that computations can hold lie below
MOST_VALUES = 10_000  # of one name in a search space
MOST_POINTS = 1_000_000  # of a search space


def fault(name: str, value: Any, default: Any) -> str | None:
    """Why `value` cannot be the parameter `name`, in words that follow its name; None when it can."""
    wanted = _kind(name, default)
    if value is None:
        return None if default is None else f"is empty; it must be {wanted}"
    if not _fits(value, wanted):
        return f"is {shown(value)}; it must be {wanted}"
    if is_number(value):
        return _out_of_bounds(name, value)
    if name in CHOICES and value not in CHOICES[name]:
        return f"is {shown(value)}; {nearest(str(value), CHOICES[name])}"
    if name in PATTERNS and not re.fullmatch(PATTERNS[name][0], value, re.ASCII):
        return f"is {shown(value)}; it must be {PATTERNS[name][1]}"
    wrong = next((each for each in _numbers(value) if not abs(each) <= LARGEST), None)
    if wrong is not None:
        return f"holds {shown(wrong)}; each number in it must be finite and no larger than 2^63"
    if name == "gray_weights" and (len(value) != 3 or not all(is_number(each) and each >= 0 for each in value)):
        return f"is {shown(value)}; it must be three numbers of at least 0: of red, green and blue"
    return options.mapping_fault(value, options.AUGMENTATION) if name == "augmentation" else None


def model_fault(values: Mapping[str, Any], find: Callable[[str], OwnNetwork]) -> tuple[str, str] | None:
    """The first fault of network, trainer, optimizer and search space against each other: (name, why).

    `find` reads a network of the user's own: see `own_network.find`.
    """
    for name, known in (("builder", options.builders()), ("trainer", options.TRAINERS)):
        if values[name] not in known and not (name == "builder" and own_network.is_own(values[name])):
            return name, f"is {shown(values[name])}; {nearest(values[name], known)}"
    builder = options.builder(values["builder"], find)
    wrong = _builder_fault(values, builder)
    if wrong:
        return "builder_options", wrong
    if values["weights"] == "imagenet" and not builder.takes_weights:
        return "weights", f"is 'imagenet', and {values['builder']} takes no weights; leave it none"
    if values["weights"] == "imagenet" and not values["weights_file"]:
        return "weights_file", "is empty; with weights imagenet it must name their file"
    if values["trainer"] in ("feature_extraction", "fine_tune") and not builder.takes_weights:
        return "trainer", f"is {values['trainer']!r}, and {values['builder']} has no base to keep; take fit"
    if values["task"] == "binary" and values["loss"] != "binary_crossentropy":
        return "loss", f"is {values['loss']!r}; task binary needs binary_crossentropy"
    if values["trainer"] == "airbench" and (values["builder"], values["optimizer"]) != ("speedrun_cnn", "sgd"):
        return "trainer", "is 'airbench', which trains the builder speedrun_cnn with the optimizer sgd; set both"
    if values["trainer"] == "feature_extraction" and values["augmentation"]:
        return "augmentation", "changes images in each epoch, and features are extracted once; take the option mirror"
    if values["label_smoothing"] and values["loss"] == "sparse_categorical_crossentropy":
        return "label_smoothing", "smooths one-hot labels; set loss to categorical_crossentropy"
    wrong = options.mapping_fault(
        values["trainer_options"], options.TRAINERS[values["trainer"]], f" for trainer {values['trainer']}"
    )
    if wrong:
        return "trainer_options", wrong
    wrong = options.optimizer_fault(values["optimizer"], values["optimizer_options"])
    if wrong:
        return "optimizer_options", wrong
    wrong = _space_fault(values["search"], values["search_space"], builder.options)
    return ("search_space", wrong) if wrong else None


def _builder_fault(values: Mapping[str, Any], builder: options.Builder) -> str | None:
    name, given = values["builder"], values["builder_options"]
    wrong = options.mapping_fault(given, builder.options, f" for {name}")
    if wrong:
        return wrong
    searched = values["search_space"] if values["search"] != "none" else {}
    missing = sorted(builder.needed - set(given) - set(searched))
    if missing:
        return f"lacks {', '.join(missing)}; {name} needs {'it' if len(missing) == 1 else 'them'}"
    return None


def _space_fault(search: str, space: Mapping[str, Any], known: Mapping[str, options.Kind]) -> str | None:
    """Why a search space cannot be searched, in words that follow its name."""
    if search != "none" and not space:
        return "is empty; a search needs something to search"
    low, high = BOUNDS["learning_rate"]
    kinds = {
        **known,
        "optimizer": options.one_of(*CHOICES["optimizer"]),
        "learning_rate": options.number(low, high),
    }
    points = 1
    for name, choices in space.items():
        if name not in kinds:
            return f"has no {shown(name)}; {nearest(name, kinds)}"
        wrong = _choices_fault(search, choices, kinds[name])
        if wrong:
            return f"gives {name!r} {wrong}"
        points *= len(choices) if isinstance(choices, list) else 1
    if points > MOST_POINTS:
        return f"has {points} points; a grid of more than {MOST_POINTS} cannot be walked"
    return None


def _choices_fault(search: str, choices: Any, kind: options.Kind) -> str | None:
    """Why the values of one name cannot be searched."""
    if isinstance(choices, dict) and set(choices) == {"min", "max", "step"} and all(map(is_number, choices.values())):
        low, high, step = choices["min"], choices["max"], choices["step"]
        if search == "grid" or not low <= high or step <= 0:
            return "a range that cannot be walked (a grid needs a list of values)"
        if (high - low) / step >= MOST_VALUES:
            return f"a range of more than {MOST_VALUES} values; make its step larger"
        choices = [low, high, low + step] if low + step <= high else [low]
    elif not isinstance(choices, list) or not choices:
        return "neither a list of values nor {min, max, step}"
    if any(isinstance(each, dict) for each in choices):
        return "a mapping as a value to choose; values are numbers, words or lists of them"
    if len({_sort(each) for each in choices}) > 1:
        return f"values of several kinds, {shown(choices)}; give numbers, or words, or lists, or true and false"
    wrong = next((each for each in choices if each == [] or not kind.fits(each)), None)
    return f"the value {shown(wrong)}; it must be {kind.words}" if wrong is not None else None


def _sort(value: Any) -> str:
    return "number" if is_number(value) else type(value).__name__


def normal(value: Any, default: Any) -> Any:
    """The value with whole numbers and others told apart as the parameter has them: 1e1 epochs are 10.

    The numbers of a list are of one kind: 0 beside 0.25 is 0.0.
    """
    if isinstance(default, float) and is_number(value) and abs(value) <= LARGEST:
        return float(value)
    if not isinstance(default, float) and isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        return int(value) if default is None or isinstance(default, int) else value
    return _one_kind(value)


def _one_kind(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _one_kind(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    numbers = bool(value) and all(is_number(each) and abs(each) <= LARGEST for each in value)
    if numbers and any(isinstance(each, float) for each in value):
        return [float(each) for each in value]
    return [_one_kind(each) for each in value]


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
        "a number": is_number(value) and abs(value) <= LARGEST,
        "text": isinstance(value, str),
        "a list": isinstance(value, list),
        "a mapping of names to values": isinstance(value, dict),
    }[wanted]


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a value, however deep."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)
    elif is_number(value):
        yield value


def _out_of_bounds(name: str, value: float) -> str | None:
    low, high = BOUNDS.get(name, (0, LARGEST))
    return None if low <= value <= high else f"is {shown(value)}; it must be between {low:g} and {high:g}"
