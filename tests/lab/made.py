"""Finished stores of made networks: real load folders, predictions, metrics and histories, and their results.csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bakeoff.lab import data, files, pairs, predictions, results
from tests.lab.cells import run_cell


@dataclass(frozen=True)
class Made:
    """A made bake-off: the path of its results.csv and its folders, as the compare notebook gets them."""

    table: Path
    folders: dict[str, dict[str, str]]

    @property
    def inputs(self) -> dict[str, Any]:
        return {"results": str(self.table), "variants": self.folders}

    def read(self) -> tuple[results.Results, dict[str, predictions.Predictions], pd.DataFrame]:
        """What the notebook's first cells make of it."""
        found = results.read(self.table)
        predicted = predictions.read(found, self.folders)
        return found, predicted, pairs.pairwise_tests(found, predicted)


def made(
    root: Path,
    skills: Mapping[str, float],
    images: int = 400,
    trainings: Mapping[str, int] | None = None,
    **more: object,
) -> Made:
    """Networks of these skills on the synthetic images; some images are hard for all of them."""
    load = root / "load"
    data.load("shapes10", load, max_train_examples=10, max_test_examples=images, seed=0)
    test = data.open_dataset(load).test
    hardness = np.random.default_rng(0).normal(scale=1.2, size=images)
    rows, folders = [], {}
    for number, (name, skill) in enumerate(skills.items()):
        for replicate in range((trainings or {}).get(name, 1)):
            folder = f"{name}-{replicate}" if replicate else name
            rng = np.random.default_rng((number, replicate))
            probabilities = _probabilities(rng, test.labels, skill - hardness + 0.03 * rng.normal())
            row = {
                "variant": name,
                "title": name,
                "replicate": replicate,
                "seed": replicate,
                "train_seconds": 60.0 + number,
            }
            rows.append(row | _stored(root / folder, test.ids, test.labels, probabilities) | more)
            stages = {"evaluate": root / folder, "train": root / folder, "load": load}
            folders[folder] = {stage: str(path) for stage, path in stages.items()}
    write_table(root / "results.csv", rows)
    return Made(root / "results.csv", folders)


def _probabilities(rng: np.random.Generator, labels: np.ndarray, skill: np.ndarray) -> np.ndarray:
    logits = rng.normal(size=(len(labels), 10)) + np.maximum(skill, -1)[:, None] * np.eye(10)[labels]
    return (np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)).astype(np.float32)


def _stored(folder: Path, ids: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Write what evaluate and train leave in `folder`; the measured columns of results.csv."""
    names = list(data.shapes.CLASS_NAMES)
    metrics = measure(probabilities, labels, names)
    files.write_npz(folder / "predictions.npz", ids=ids, labels=labels, probabilities=probabilities)
    files.write_json(folder / "metrics.json", metrics | {"class_names": names})
    end = metrics["test_accuracy"]
    curve = [end * (1 - 0.5**epoch) for epoch in range(1, 6)]
    history = {"epoch": range(1, 6), "train_accuracy": [x + 0.03 for x in curve], "validation_accuracy": curve}
    files.write_csv(folder / "history.csv", pd.DataFrame(history))
    fixed = {"status": "ok", "task": "classes", "dataset": "cifar10", "weights": "none", "optimizer_steps": 3000}
    fixed |= {"test_images": len(labels), "parameters": 1000, "train_accuracy": end + 0.03, "limited": ""}
    names_kept = ("test_accuracy", "test_loss", "expected_calibration_error", "top_k_accuracy", "balanced_accuracy")
    return fixed | {name: metrics[name] for name in names_kept}


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    task: str = "classes",
    top_k: int = 3,
    loss: str = "sparse_categorical_crossentropy",
    label_smoothing: float = 0.0,
) -> dict[str, Any]:
    """What the evaluate notebook's own cell measures of these predictions."""
    return run_cell("6_evaluate", "metrics", dict(locals()))["metrics"]


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """results.csv of these rows."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
