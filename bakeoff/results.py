"""The table of results: a row a variant and replicate, read from the files of finished steps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bakeoff.lab.ranking import HELD_OUT
from bakeoff.plan.resolve import SYNTHETIC
from bakeoff.plan.steps import Row
from bakeoff.store import Store

# The first names are relied on from outside: see results.csv in docs/how-it-works.md.
COLUMNS = (
    *("variant", "family", "source", "status", "task", "dataset", "weights", "limited", "seed", "parameters"),
    *(
        "train_images",
        "epochs",
        "train_accuracy",
        "validation_accuracy",
        "test_images",
        "test_accuracy",
        "test_loss",
    ),
    *("train_seconds", "title", "replicate", "optimizer_steps", "accuracy_low", "accuracy_high", "top_k"),
    *(
        "top_k_accuracy",
        "balanced_accuracy",
        "expected_calibration_error",
        "milliseconds_per_image",
        "gflop_per_image",
    ),
    *("search_seconds", "validation_source", "published_test_accuracy", "assumed", "notes", "message"),
    *("unseen_classes", "diverged_epoch", "threads", "backend", "hypothesis_of", "baseline_accuracy"),
)


def collect(rows: Sequence[Row], store: Store, failures: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    """One dict a row with the names of COLUMNS; what a task does not have stays empty."""
    return [_row(row, store, failures) for row in rows]


def to_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """The table as CSV text: the same bytes for the same values."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def stage_folders(row: Row, store: Store) -> dict[str, str]:
    """Stage -> folder, for the steps of a row that are finished."""
    return {
        name: str(store.folder(*step.name))
        for name, step in row.steps.items()
        if store.complete_manifest(*step.name) is not None
    }


def without_other_trials(folders: Mapping[str, str]) -> list[str]:
    """The labels of a row's finished steps, of a search that has ended only the best trial's among the trials."""
    best = f"trial-{_read(Path(folders['search']) / _FILES['search']).get('trial')}" if "search" in folders else ""
    return [label for label in folders if not best or not label.startswith("trial-") or label == best]


def title_of(row: Row) -> str:
    """A row's title, and whether the class that it names is one that the synthetic fallback data set lacks."""
    title, values = str(row.parameters.run["title"]), row.parameters.stage
    if values.get("task") != "binary" or row.dataset.name != SYNTHETIC or not values.get("positive_class"):
        return title
    return f"{title} ({SYNTHETIC}: its first class in place of {values['positive_class']})"


def _row(row: Row, store: Store, failures: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    run, values = row.parameters.run, row.parameters.stage
    fixed = {
        "variant": row.variant,
        "family": run["family"],
        "source": run["source"],
        "task": values["task"],
        "dataset": row.dataset.in_tables,
        "weights": row.weights,
        "seed": row.seed,
        "replicate": row.replicate,
        "title": title_of(row),
        "assumed": "; ".join(map(str, run["assumed"])),
        "notes": run["notes"],
        "hypothesis_of": run["hypothesis_of"],
        "published_test_accuracy": values["published"].get("test_accuracy"),
    }
    folders = {name: Path(folder) for name, folder in stage_folders(row, store).items()}
    status, message = _status(row, folders, failures)
    files = {name: _read(folder / _FILES[name]) for name, folder in folders.items() if name in _FILES}
    measured = _measured(files) | _searched(folders) | _setting(row, "threads", "backend") if status == "ok" else {}
    limited = "; ".join(_limited(row, files))
    merged = {**fixed, "status": status, "message": message, "limited": limited, **measured}
    return {name: "" if merged.get(name) is None else merged[name] for name in COLUMNS}


_FILES = {
    "load": "dataset.json",
    "search": "best.json",
    "build": "network.json",
    "train": "training.json",
    "evaluate": "metrics.json",
}


def _status(row: Row, folders: Mapping[str, Path], failures: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    if row.blocked:
        return "blocked", row.blocked
    failed = [failures[step.name] for step in row.steps.values() if step.name in failures]
    if failed:
        return "failed", failed[0]
    unfinished = [name for name in [*row.steps, *row.unknown] if name not in folders]
    return ("failed", f"not run yet: {', '.join(unfinished)}") if unfinished else ("ok", "")


def _measured(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    build, train, metrics = files["build"], files.get("train", {}), files["evaluate"]
    names = (
        *("test_images", "test_accuracy", "test_loss", "accuracy_low", "accuracy_high", "top_k", "top_k_accuracy"),
        *("balanced_accuracy", "expected_calibration_error", "milliseconds_per_image", "diverged_epoch"),
    )
    trained = (
        "train_images",
        "epochs",
        "train_accuracy",
        "validation_accuracy",  # the last epoch's, as the training's page shows it
        "train_seconds",
        "optimizer_steps",
    )
    return {
        "parameters": build["parameters"],
        "gflop_per_image": build["forward_gflop"],
        "validation_source": train.get("validation_source"),
        "unseen_classes": sum(map(len, train.get("unseen_classes", {}).values())),
        "baseline_accuracy": _most_frequent([each["support"] for each in metrics.get("per_class", ())]),
        **{name: train.get(name) for name in trained},
        **{name: metrics.get(name) for name in names},
    }


def _most_frequent(images: Sequence[int]) -> float | None:
    """The accuracy of naming the most frequent class always, from the test images of each class."""
    return max(images) / sum(images) if sum(images) else None


def _setting(row: Row, *names: str) -> dict[str, Any]:
    """What the training computed with: seconds compare on equal threads, trainings on equal backends."""
    settings = row.steps["train"].key_inputs["settings"] if "train" in row.steps else {}
    return {name: settings.get(name) for name in names}


def _searched(folders: Mapping[str, Path]) -> dict[str, Any]:
    """How long the trials of a search took together; the training's seconds do not hold them."""
    if "search" not in folders:
        return {}
    with (folders["search"] / "trials.csv").open(encoding="utf-8", newline="") as stream:
        return {"search_seconds": sum(float(trial["seconds"]) for trial in csv.DictReader(stream))}


def _limited(row: Row, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every override of the published schedule, in words."""
    words = list(row.parameters.overrides)
    if row.dataset.name == SYNTHETIC and row.parameters.stage["dataset"] != SYNTHETIC:
        words.insert(0, f"synthetic data {SYNTHETIC} in place of {row.parameters.stage['dataset']}")
    if row.weights == "random":
        words.insert(0, "random weights in place of ImageNet's")
    load, train, metrics = files.get("load", {}), files.get("train", {}), files.get("evaluate", {})
    words += [
        f"{len(names)} of the classes of the {part} images not trained on"
        for part, names in files.get("train", {}).get("unseen_classes", {}).items()
    ]
    if load.get("test_split") == "train":
        words.append(HELD_OUT)
    for split, available in load.get("available", {}).items():
        if load[f"{split}_examples"] < available:
            words.append(f"{load[f'{split}_examples']} of {available} {split} images")
    if "search" in files and train:
        found, split = files["search"], train["validation_source"] == "split"
        used = found["train_images"] + found["validation_images"]
        there = train["train_images_available"] + (train["validation_images_available"] if split else 0)
        if used < there:
            words.append(f"searched on the first {used} of {there} images by the compute budget")
    if metrics.get("diverged_epoch") is not None:
        words.append(f"diverged at epoch {metrics['diverged_epoch']} of {train['epochs_planned']}")
    for name, file in (("train", train), ("test", metrics)):
        used, there = file.get(f"{name}_images"), file.get(f"{name}_images_available")
        if used and there and used < there:
            did = "trained" if name == "train" else "tested"
            words.append(f"{did} on the first {used} of {there} images by the compute budget")
    return words


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
