"""Which images are trained on, held out and tested, and how pixels become the numbers that a network sees.

Decisions are stored (indices, statistics, the map of pixels), never a second copy of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.lab import files, shapes, transform
from bakeoff.lab.data import Dataset, open_dataset
from bakeoff.lab.transform import Transform

_INDICES = "splits.npz"
_DESCRIPTION = "preprocess.json"  # written last: where it is, the indices are whole
CATALOGUE = "cifar10"  # the sources' data: its validation images are held out as the sources did it
_BLOCK = 1000  # images looked at together for the statistics


@dataclass(frozen=True, eq=False)
class View:
    """Some examples of a split, in an order, with the transform that belongs to them.

    images (all, h, w, c) uint8, all_labels and all_ids are those of the whole split; `indices` picks this view's.
    """

    images: np.ndarray
    all_labels: np.ndarray
    all_ids: np.ndarray
    indices: np.ndarray
    transform: Transform

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self.all_labels[self.indices]

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) text."""
        return self.all_ids[self.indices]

    def raw(self, positions: np.ndarray | Sequence[int] | slice) -> np.ndarray:
        """The stored images at these positions of the view: (k, h, w, c) uint8."""
        return np.asarray(self.images[self.indices[positions]])

    def batch(self, positions: np.ndarray | Sequence[int] | slice) -> np.ndarray:
        """What the network sees of them: (k, h, w, c') float32."""
        return self.transform(self.raw(positions))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """What the network would see of other images (uint8 or float, 0..255): (k, h, w, c') float32."""
        return self.transform(images)

    def first(self, n: int) -> View:
        """The first `n` examples of this view."""
        return replace(self, indices=self.indices[:n])


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that training and evaluation need of the data.

    num_outputs: 1 for a binary task (one sigmoid unit), else num_classes. input_shape: (h, w, c') as the network
    sees it. statistics: minimum, maximum, mean and standard_deviation (lists, one a channel) of the 0..255 pixels
    trained on, and `images`, their number. validation_source: "none", "split" or "test". validation_sampling: "last"
    or "stratified", how a split is drawn. duplicates: see `splits.count_duplicates`, of the parts training, validation
    and test.
    """

    dataset_name: str
    task: str
    class_names: tuple[str, ...]
    num_classes: int
    num_outputs: int
    input_shape: tuple[int, int, int]
    train: View
    validation: View | None
    test: View
    statistics: dict[str, Any]
    validation_source: str
    validation_sampling: str
    duplicates: dict[str, int]

    def parts(self) -> dict[str, View]:
        """The parts that there are: training, validation, test."""
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        return {name: view for name, view in parts.items() if view is not None}

    def unseen_classes(self, trained_on: np.ndarray) -> dict[str, list[str]]:
        """Validation and test -> the classes that they show and that `trained_on`, labels (n,), does not have."""
        missing = {name: np.setdiff1d(view.labels, trained_on) for name, view in self.parts().items()}
        del missing["training"]
        return {name: [self.class_names[label] for label in labels] for name, labels in missing.items() if len(labels)}


def save(folder: str | Path, decisions: Mapping[str, Any], **indices: np.ndarray) -> None:
    """Store what the preprocess notebook decided: `indices` of train, validation and test, and the rest as JSON.

    Where the folder holds these very decisions its files stay as they are.
    """
    folder = Path(folder)
    with suppress(OSError, ValueError, KeyError):
        if files.as_json(decisions) == files.read_json(folder / _DESCRIPTION) and _same_indices(folder, indices):
            return
    files.write_npz(folder / _INDICES, **indices)
    files.write_json(folder / _DESCRIPTION, decisions)


def open_prepared(inputs: Mapping[str, str]) -> Prepared:
    """What the notebook stored, from the folders of the load and preprocess stages."""
    return open_decisions(open_dataset(inputs["load"]), inputs["preprocess"])


def measure(images: np.ndarray, indices: np.ndarray, channels: Transform) -> dict[str, Any]:
    """Minimum, maximum, mean and standard deviation of each channel (red, green, blue; or gray) of 0..255 pixels.

    They are those of the images at `indices`, read block by block.
    """
    channels = replace(channels, reverse=False, repeat=1)
    count, lowest, highest, total, squares = 0, [], [], [], []
    for start in range(0, len(indices), _BLOCK):
        pixels = channels.channels(images[indices[start : start + _BLOCK]]).astype(np.float64)
        pixels = pixels.reshape(-1, pixels.shape[-1])
        count += len(pixels)
        lowest.append(pixels.min(axis=0))
        highest.append(pixels.max(axis=0))
        total.append(pixels.sum(axis=0))
        squares.append((pixels * pixels).sum(axis=0))
    mean = np.sum(total, axis=0) / count
    variance = np.maximum(np.sum(squares, axis=0) / count - mean * mean, 0)
    return {
        "images": len(indices),
        "minimum": np.min(lowest, axis=0).tolist(),
        "maximum": np.max(highest, axis=0).tolist(),
        "mean": mean.tolist(),
        "standard_deviation": np.sqrt(variance).tolist(),
    }


def resolve_sampling(validation_sampling: str, dataset: str) -> str:
    """How held-out images are drawn: "auto" is "last" for the sources' data, whose figures rest on it."""
    return {"auto": "last" if dataset == CATALOGUE else "stratified"}.get(validation_sampling, validation_sampling)


# ---------------------------------------------------------------- which images


def positive_label(dataset: Dataset, positive_class: str) -> int:
    """The label to find: the first class where none is named, and where the synthetic fallback has no such class.

    Raises ValueError where other data have no such class.
    """
    names = dataset.class_names
    if not positive_class or (dataset.name == shapes.NAME and positive_class not in names):
        return 0
    if positive_class not in names:
        near = {name.casefold(): name for name in names}.get(positive_class.casefold()) or next(
            iter(get_close_matches(positive_class, names, n=1)), None
        )
        hint = f"did you mean {near!r}?" if near else f"they are {', '.join(names[:20])}."
        raise ValueError(f"positive_class {positive_class!r} is no class of {dataset.name}; {hint}")
    return names.index(positive_class)


def choose_sides(labels: np.ndarray, positive: int, examples_per_side: int) -> np.ndarray:
    """Indices of the first images of the class `positive` and of all others, in the order of the data; 0 for all.

    Raises ValueError where one side has no images.
    """
    most = examples_per_side or len(labels)
    sides = [np.flatnonzero(side)[:most] for side in (labels == positive, labels != positive)]
    if not all(len(side) for side in sides):
        raise ValueError("The training images show only one side of the binary task; raise max_train_examples.")
    return np.sort(np.concatenate(sides)).astype(np.int64)


# ---------------------------------------------------------------- opening


def open_decisions(dataset: Dataset, folder: str | Path) -> Prepared:
    """The data set as the decisions in `folder` divide and scale it."""
    stored = files.read_json(Path(folder) / _DESCRIPTION)
    with np.load(Path(folder) / _INDICES) as indices:
        train, validation, test = indices["train"], indices["validation"], indices["test"]
    seen, tested = transform.from_stored(stored["train_transform"]), transform.from_stored(stored["test_transform"])
    source, task = stored["validation_source"], stored["task"]
    names, (train_labels, test_labels) = _task_labels(dataset, stored["positive_class"])
    training = View(dataset.train.images, train_labels, dataset.train.ids, train, seen)
    testing = View(dataset.test.images, test_labels, dataset.test.ids, test, tested)
    held_out = {"none": None, "test": testing, "split": replace(training, indices=validation, transform=tested)}
    return Prepared(
        dataset_name=dataset.name,
        task=task,
        class_names=names,
        num_classes=len(names),
        num_outputs=1 if task == "binary" else len(names),
        input_shape=training.batch([0]).shape[1:],
        train=training,
        validation=held_out[source],
        test=testing,
        statistics=stored["statistics"],
        validation_source=source,
        validation_sampling=stored["validation_sampling"],
        duplicates=stored["duplicates"],
    )


def _same_indices(folder: Path, indices: Mapping[str, np.ndarray]) -> bool:
    stored = files.read_npz_if_whole(folder / _INDICES)
    return stored.keys() == indices.keys() and all(np.array_equal(stored[name], indices[name]) for name in indices)


def _task_labels(dataset: Dataset, positive: str | None) -> tuple[tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
    """Names and labels of the task; a binary task has label 1 for the positive class and 0 for every other."""
    labels = dataset.train.labels, dataset.test.labels
    if positive is None:
        return dataset.class_names, labels
    wanted = dataset.class_names.index(positive)
    train, test = ((one == wanted).astype(np.int64) for one in labels)
    return (f"not {positive}", positive), (train, test)
