"""What the ranked networks predicted for the test images: read from the store, and set side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bakeoff.lab import data, statistics
from bakeoff.lab.results import Folders, Results, stored
from bakeoff.lab.tested import Predictions, read_predictions

SURE = 0.9  # a wrong prediction of more confidence is a confident mistake
BINS = 10  # of confidence, in a reliability curve


@dataclass(frozen=True)
class Panel(Predictions):
    """Networks tested on the same images, the first training of each: predicted and confidence (networks, n)."""

    names: list[str]

    @property
    def missed(self) -> np.ndarray:
        """Places of the images that no network got right, the most confident wrong predictions first."""
        return self._most_confident(np.flatnonzero(~self.correct.any(axis=0)), self.confidence.mean(axis=0))

    @property
    def alone(self) -> np.ndarray:
        """Places of the images that one network alone got right, those first of which it was most confident."""
        places = np.flatnonzero(self.correct.sum(axis=0) == 1)
        return self._most_confident(places, np.where(self.correct, self.confidence, 0).max(axis=0))

    @property
    def mistaken(self) -> np.ndarray:
        """Places of the images that some network got wrong, the most confident mistakes first."""
        places = np.flatnonzero(~self.correct.all(axis=0))
        return self._most_confident(places, np.where(self.correct, 0, self.confidence).max(axis=0))

    @staticmethod
    def _most_confident(places: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        return places[np.argsort(-confidence[places], kind="stable")]


def read(results: Results, folders: Folders) -> dict[str, Predictions]:
    """The predictions of each ranked variant, best first.

    A variant is there only when the predictions of all its trainings are stored, are those that its accuracies were
    computed from, and are of the same images.
    """
    found = stored(folders, "evaluate", "predictions.npz")
    read: dict[str, Predictions] = {}
    for variant in results.ranked["variant"]:
        trainings = results.trainings[results.trainings["variant"] == variant]
        paths = [found.get(folder) for folder in trainings["folder"]]
        predictions = read_predictions(paths, trainings["test_accuracy"].to_numpy())
        if predictions is not None:
            read[variant] = predictions
    return read


def panel(predictions: Mapping[str, Predictions]) -> Panel:
    """The variants that were tested on the same images as most others, in the order given."""
    like = {
        name: [other for other, two in predictions.items() if one.same_images(two)] for name, one in predictions.items()
    }
    names = max(like.values(), key=len, default=[])
    if not names:
        empty = np.empty((0, 0))
        return Panel(np.empty(0, str), np.empty(0, int), empty.astype(int), empty, [])
    first = predictions[names[0]]
    keys = ("predicted", "confidence")
    predicted, confidence = (np.stack([getattr(predictions[name], key)[0] for name in names]) for key in keys)
    return Panel(first.ids, first.labels, predicted, confidence, names)


def agreement(panel: Panel) -> pd.DataFrame:
    """Share of the test images for which two networks predict the same class, right or wrong."""
    shares = [[float((one == other).mean()) for other in panel.predicted] for one in panel.predicted]
    return pd.DataFrame(shares, index=panel.names, columns=panel.names)


def calibration(results: Results, predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """Of each variant (index): accuracy, mean confidence, expected calibration error, and its confident mistakes.

    `confident_mistakes` is the share of the wrong predictions whose confidence is above SURE.
    """
    errors = results.ranked.set_index("variant")["expected_calibration_error"]
    rows = {}
    for name, each in predictions.items():
        wrong = each.confidence[~each.correct]
        rows[name] = {
            "accuracy": float(each.correct.mean()),
            "mean_confidence": float(each.confidence.mean()),
            "calibration_error": float(errors[name]),
            "confident_mistakes": float((wrong > SURE).mean()) if wrong.size else 0.0,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def reliability(predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """Accuracy by confidence of each variant, all its trainings together: a row a variant and bin that has images."""
    rows = []
    for name, each in predictions.items():
        found = statistics.binned(each.confidence.ravel(), each.correct.ravel(), BINS)
        columns = {"confidence": found.confidence, "accuracy": found.accuracy, "images": found.counts}
        rows.append(pd.DataFrame(columns).query("images > 0").assign(variant=name))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def images(panel: Panel, places: np.ndarray, folders: Folders) -> tuple[np.ndarray, list[str]]:
    """The test images (m, h, w, c) at these places of the panel, and the names of the classes."""
    dataset = data.open_dataset(folders[panel.names[0]]["load"])
    position = {name: at for at, name in enumerate(dataset.test.ids.tolist())}
    return dataset.test.images[[position[name] for name in panel.ids[places].tolist()]], list(dataset.class_names)
