"""`--export` and `--predict`: the network of a finished variant leaves the store, or looks at image files.

The work is done by `bakeoff.lab.export` in a process of its own, in the environment of the variant's kernels.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bakeoff import results
from bakeoff.errors import RequestError, StepError, one_line
from bakeoff.export.model_card import model_card
from bakeoff.pipeline import Pipeline
from bakeoff.plan.prepared import data_licence
from bakeoff.plan.resolve import python_path
from bakeoff.plan.steps import STAGES, Plan, Row
from bakeoff.run.runner import kernel_environment
from bakeoff.store import write_atomically

# format -> its file in the folder
FORMATS = {"keras": "model.keras", "savedmodel": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}
_SHOWN = 3  # classes of an image in the table
_ONNX_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def export(pipeline: Pipeline, format: str, folder: Path) -> int:
    """Write model, labels and model card into `folder`, and say how well the file agrees with the evaluate stage."""
    plan = pipeline.plan(look=False)
    _refuse_format(format, plan.machine.backend)
    row = _finished(pipeline, plan)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FORMATS[format]
    tried = _in_lab(pipeline, plan, row, {"format": format, "file": str(file)})
    (table,) = results.collect([row], pipeline.store, {})
    licence = data_licence(row.dataset.in_tables, pipeline.request.data_dir)
    card = model_card(row, table, results.stage_folders(row, pipeline.store), format, file.name, licence)
    write_atomically(folder / "README.md", card)
    pipeline.say(f"Wrote {file}, with labels.txt, labels.json and the model card README.md.")
    pipeline.say(
        f"Tried on {tried['images']} test images: {tried['same_labels']} have the label of the evaluate stage; the "
        f"largest difference of probabilities is {tried['largest_difference']:.1e}."
    )
    return 0


def predict(pipeline: Pipeline, images: Sequence[Path], as_json: bool) -> int:
    """Print the classes of image files with their probabilities: the likeliest as a table, all of them as JSON."""
    missing = next((path for path in images if not path.is_file()), None)
    if missing:
        raise RequestError(f"--predict: there is no file {one_line(str(missing))}; name image files after the variant")
    plan = pipeline.plan(look=False)
    row = _finished(pipeline, plan)
    answers = _in_lab(pipeline, plan, row, {"images": [str(path.resolve()) for path in images]})
    for answer, path in zip(answers, images, strict=True):
        answer["image"] = str(path)
    print(json.dumps(answers, indent=1, ensure_ascii=False) if as_json else "\n".join(_table(answers)))
    return 0


def _table(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("image", "class", "probability")]
    for answer in answers:
        for number, each in enumerate(answer["predictions"][:_SHOWN]):
            name = one_line(answer["image"]) if number == 0 else ""
            rows.append((name, one_line(each["class"]), f"{each['probability']:.4f}"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{image:<{widths[0]}}  {name:<{widths[1]}}  {number}" for image, name, number in rows]


def _refuse_format(format: str, backend: str) -> None:
    if format != "keras" and backend != "tensorflow":
        raise RequestError(
            f"--format {format} is written by Keras on TensorFlow, and here it computes with {backend}; take --format "
            "keras, or make and export the variant with KERAS_BACKEND=tensorflow"
        )
    missing = [name for name in _ONNX_PACKAGES if format == "onnx" and find_spec(name) is None]
    if missing:
        raise RequestError(
            f"--format onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
            "pip install --editable '.[onnx]'"
        )


def _finished(pipeline: Pipeline, plan: Plan) -> Row:
    """The variant's first row, if all its steps are in the store, whole, and have left a network that can be used."""
    row = plan.rows[0]
    if row.blocked:
        raise RequestError(f"{row.variant} cannot be run: {row.blocked}")
    folders = results.stage_folders(row, pipeline.store)
    missing = [step.title for step in row.steps.values() if step.label not in folders] + row.unknown
    damaged = [
        step.title
        for step in row.steps.values()
        if not missing and pipeline.store.first_bad_file(*step.name, digests=pipeline.code.digests)
    ]
    if missing or damaged:
        what = f"is not finished here ({missing[0]} is missing)" if missing else f"is damaged ({damaged[0]})"
        raise RequestError(f"{row.variant} {what}; make it with `{_command(pipeline, row)}`")
    metrics = json.loads((Path(folders["evaluate"]) / "metrics.json").read_text(encoding="utf-8"))
    if metrics["diverged_epoch"] is not None:
        raise RequestError(
            f"the training of {row.variant} diverged at epoch {metrics['diverged_epoch']}, so that it predicts "
            "nothing; train it with a smaller learning_rate"
        )
    return row


def _command(pipeline: Pipeline, row: Row) -> str:
    settings = [part for setting in pipeline.request.settings for part in ("--set", setting)]
    return shlex.join(["python", "pipeline.py", "--variants", row.variant, "--profile", pipeline.profile, *settings])


def _in_lab(pipeline: Pipeline, plan: Plan, row: Row, arguments: Mapping[str, Any]) -> Any:
    """What `bakeoff.lab.export` answers, run on the code of this moment, in the environment of the evaluate stage."""
    pipeline.freeze()
    folders = results.stage_folders(row, pipeline.store)
    inputs = {name: folder for name, folder in folders.items() if name in STAGES}
    gpu = plan.machine.gpus[0] if plan.machine.gpus else ""
    environment = kernel_environment(row.steps["evaluate"], plan.machine, pipeline.request.data_dir, gpu)
    environment["PYTHONPATH"] = python_path(pipeline.code.project)
    done = subprocess.run(
        [sys.executable, "-m", "bakeoff.lab.export", json.dumps({"inputs": inputs, **arguments})],
        cwd=pipeline.code.project,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    said = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
    if done.returncode == 2:
        raise RequestError(said[-1])
    if done.returncode:
        raise StepError("bakeoff.lab.export", None, one_line(said[-1]))
    return json.loads(done.stdout.splitlines()[-1])
