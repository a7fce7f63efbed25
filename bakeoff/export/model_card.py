"""The model card of an exported network, in the form of the Hugging Face hub, filled from its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bakeoff.plan.resolve import SYNTHETIC
from bakeoff.plan.steps import Row

_LIBRARIES = {"keras": "keras", "savedmodel": "tensorflow", "onnx": "onnx", "litert": "tflite"}
_SCHEDULE = (
    *("trainer", "trainer_options", "loss", "label_smoothing", "optimizer", "learning_rate", "optimizer_options"),
    *("batch_size", "precision", "augmentation"),
)
_READ = {
    "keras": 'import keras\n\nmodel = keras.models.load_model("{file}")\nprobabilities = model.predict(images)',
    "savedmodel": "import tensorflow as tf\n\n"
    'model = tf.saved_model.load("{file}")\nprobabilities = model.serve(images)',
    "onnx": "import onnxruntime\n\n"
    'session = onnxruntime.InferenceSession("{file}")\n'
    "(probabilities,) = session.run(None, {{session.get_inputs()[0].name: images}})",
    "litert": "from ai_edge_litert.interpreter import Interpreter\n\n"
    'interpreter = Interpreter("{file}")\n'
    'interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)\n'
    "interpreter.allocate_tensors()\n"
    'interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)\n'
    "interpreter.invoke()\n"
    'probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])',
}


def model_card(
    row: Row, table: Mapping[str, Any], folders: Mapping[str, str], format: str, file: str, licence: str
) -> str:
    """README.md for the model `file`; `table` is the row of results, `licence` what is known of that of the data."""
    metrics = _read(folders, "evaluate", "metrics.json")
    parts = [
        f"---\n{yaml.safe_dump(_front(row, table, format), sort_keys=False, allow_unicode=True)}---",
        f"# {row.variant}: {table['title']}",
        f"An image classifier trained and measured by Bakeoff. This card is that of `{file}`.",
        *_use(folders, format, file),
        *_data(row, folders, licence),
        *_training(row, folders, table),
        *_results(table, metrics),
        *_limits(row, table, metrics),
    ]
    return "\n\n".join(parts) + "\n"


def _front(row: Row, table: Mapping[str, Any], format: str) -> dict[str, Any]:
    """The metadata that the hub reads."""
    name = row.dataset.in_tables
    on_hub = name.removeprefix("hf:") if name.startswith("hf:") or ":" not in name else ""
    measured = table["test_accuracy"] != ""
    front: dict[str, Any] = {
        "library_name": _LIBRARIES[format],
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "bakeoff"],
    }
    if on_hub and name != SYNTHETIC:
        front["datasets"] = [on_hub]
    if measured:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"name": row.dataset.name, "type": on_hub or "own-images", "split": "test"},
            "metrics": [{"type": "accuracy", "value": table["test_accuracy"]}],
        }
        front |= {"metrics": ["accuracy"], "model-index": [{"name": row.variant, "results": [result]}]}
    return front


def _use(folders: Mapping[str, str], format: str, file: str) -> list[str]:
    height, width, channels = _read(folders, "load", "dataset.json")["image_shape"]
    kind = {1: "gray", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    return [
        "## Use",
        f"It takes images (n, {height}, {width}, {channels}) uint8 from 0 to 255 ({kind}), scales them itself, and "
        "gives a probability for each line of `labels.txt` (`labels.json`: the same by number). Images of other sizes "
        "have to be resized first; `pipeline.py --predict` does so with Pillow's bilinear filter.",
        f"```python\n{_READ[format].format(file=file)}\n```",
    ]


def _data(row: Row, folders: Mapping[str, str], licence: str) -> list[str]:
    load = _read(folders, "load", "dataset.json")
    if row.dataset.name == SYNTHETIC:
        licence = "none is needed; the images are drawn by Bakeoff itself."
    counts = f"{load['train_examples']} training and {load['test_examples']} test images were loaded."
    return [
        "## Data",
        " ".join([f"{row.dataset.name}, {len(load['class_names'])} classes. {counts}", *load["notes"]]),
        f"Licence of the data: {licence}",
    ]


def _training(row: Row, folders: Mapping[str, str], table: Mapping[str, Any]) -> list[str]:
    if "train" not in row.steps:
        weights = {"imagenet": "ImageNet's weights", "random": "random weights"}.get(row.weights, "initial weights")
        return ["## Training", f"Nothing was trained: the network has {weights}."]
    found = _read(folders, "train", "training.json")  # where there was a search, it has what that chose
    values = {name: found.get(name, value) for name, value in row.steps["train"].parameters.items()}
    lines = [f"| {name} | {_plain(values[name])} |" for name in _SCHEDULE if values.get(name) not in (None, "", {}, [])]
    validated = _number(table["validation_accuracy"])
    return [
        "## Training",
        f"{table['epochs']} epochs on {table['train_images']} images ({table['optimizer_steps']} optimizer steps), "
        f"seed {row.seed}, weights at the start: {'random' if row.weights == 'none' else row.weights}. Training "
        f"accuracy {_number(table['train_accuracy'])}{f', validation accuracy {validated}' if validated else ''}.",
        "\n".join(["| setting | value |", "|---|---|", *lines]),
    ]


def _results(table: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    if metrics["test_accuracy"] is None:
        return ["## Results", "No accuracy was measured: the network's labels are not the classes of the data."]
    baseline = table["baseline_accuracy"]
    lines = [
        f"| {_plain(each['class_name'])} | {_number(each['recall']) if each['support'] else ''} | {each['support']} |"
        for each in metrics["per_class"]
    ]
    return [
        "## Results",
        f"Accuracy on {metrics['test_images']} test images: **{_number(metrics['test_accuracy'])}**, 95 % interval "
        f"{_number(metrics['accuracy_low'])} to {_number(metrics['accuracy_high'])} (Wilson); naming the most frequent "
        f"class always gives {_number(baseline)}.",
        "\n".join(["| class | recall | test images |", "|---|---|---|", *lines]),
    ]


def _limits(row: Row, table: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    limits = [table["limited"], table["notes"], *(f"Assumed: {each}" for each in row.parameters.run["assumed"])]
    if metrics["task"] == "binary":
        limits.append(f"It tells one class from all others: {metrics['class_names'][1]}")
    always = "It names one of its classes for any image, also for images of none of them"
    return ["## Limits", "\n".join(f"- {str(each).rstrip('.')}." for each in [*limits, always] if each)]


def _plain(value: Any) -> str:
    """A value in a cell of a Markdown table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _read(folders: Mapping[str, str], stage: str, name: str) -> dict[str, Any]:
    return dict(json.loads((Path(folders[stage]) / name).read_text(encoding="utf-8")))
