"""What the ranked networks answered on the test images: read from the store, and set side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bakeoff.lab import data
from bakeoff.lab.results import Folders, Results, stored
from bakeoff.lab.tested import Answers, read_answers


@dataclass(frozen=True)
class Panel(Answers):
    """Networks that answered on the same images, the first training of each: said and confidence (networks, n)."""

    names: list[str]

    @property
    def missed(self) -> np.ndarray:
        """Places of the images that no network got right, those first whose wrong answers were surest."""
        return self._surest(np.flatnonzero(~self.correct.any(axis=0)), self.confidence.mean(axis=0))

    @property
    def alone(self) -> np.ndarray:
        """Places of the images that one network alone got right, those first of which it was surest."""
        places = np.flatnonzero(self.correct.sum(axis=0) == 1)
        return self._surest(places, np.where(self.correct, self.confidence, 0).max(axis=0))

    @property
    def mistaken(self) -> np.ndarray:
        """Places of the images that some network got wrong, those first of whose wrong answer it was surest."""
        places = np.flatnonzero(~self.correct.all(axis=0))
        return self._surest(places, np.where(self.correct, 0, self.confidence).max(axis=0))

    @staticmethod
    def _surest(places: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        return places[np.argsort(-confidence[places], kind="stable")]


def read(results: Results, folders: Folders) -> dict[str, Answers]:
    """The answers of each ranked variant, best first.

    A variant is there only when the predictions of all its trainings are stored, are those that its accuracies were
    computed from, and are of the same images.
    """
    found = stored(folders, "evaluate", "predictions.npz")
    read: dict[str, Answers] = {}
    for variant in results.ranked["variant"]:
        trainings = results.trainings[results.trainings["variant"] == variant]
        paths = [found.get(folder) for folder in trainings["folder"]]
        answers = read_answers(paths, trainings["test_accuracy"].to_numpy())
        if answers is not None:
            read[variant] = answers
    return read


def panel(answers: Mapping[str, Answers]) -> Panel:
    """The variants that were tested on the same images as most others, in the order given."""
    like = {name: [other for other, two in answers.items() if one.same_images(two)] for name, one in answers.items()}
    names = max(like.values(), key=len, default=[])
    if not names:
        empty = np.empty((0, 0))
        return Panel(np.empty(0, str), np.empty(0, int), empty.astype(int), empty, [])
    first = answers[names[0]]
    said, confidence = (np.stack([getattr(answers[name], key)[0] for name in names]) for key in ("said", "confidence"))
    return Panel(first.ids, first.labels, said, confidence, names)


def pictures(panel: Panel, places: np.ndarray, folders: Folders) -> tuple[np.ndarray, list[str]]:
    """The test images (m, h, w, c) at these places of the panel, and the names of the classes."""
    dataset = data.open_dataset(folders[panel.names[0]]["load"])
    position = {name: at for at, name in enumerate(dataset.test.ids.tolist())}
    return dataset.test.images[[position[name] for name in panel.ids[places].tolist()]], list(dataset.class_names)
