"""Which images are trained on, held out and tested, and how pixels become the numbers that a network sees.

Decisions are stored (indices, statistics, the map of pixels), never a second copy of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.lab import files, shapes, splits, transform
from bakeoff.lab.data import Dataset, Split, open_dataset
from bakeoff.lab.transform import Transform

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
        """The stored pictures at these positions of the view: (k, h, w, c) uint8."""
        return np.asarray(self.images[self.indices[positions]])

    def batch(self, positions: np.ndarray | Sequence[int] | slice) -> np.ndarray:
        """What the network sees of them: (k, h, w, c') float32."""
        return self.transform(self.raw(positions))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """What the network would see of other pictures (uint8 or float, 0..255): (k, h, w, c') float32."""
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


def prepare(
    dataset: Dataset,
    folder: str | Path,
    *,
    task: str,
    color: str,
    gray_weights: Sequence[float],
    scaling: str,
    validation: str,
    validation_split: float,
    validation_sampling: str,
    validation_preprocessing: str,
    positive_class: str,
    examples_per_side: int,
) -> Prepared:
    """Decide splits, statistics and transforms, store them in `folder`, or open what is there.

    Raises ValueError for settings that the data cannot follow.
    """
    given = {name: value for name, value in locals().items() if name not in ("dataset", "folder")}
    given |= {"dataset": dataset.name, "images": [len(dataset.train), len(dataset.test)]}
    folder = Path(folder)
    files.claim(folder, given, (_DESCRIPTION,))
    if not (folder / _DESCRIPTION).is_file():
        positive = _positive_label(dataset, positive_class) if task == "binary" else None
        chosen = _chosen(dataset.train, positive, examples_per_side)
        sampling = resolve_sampling(validation_sampling, dataset.name)
        train, held_out = _parted(chosen, dataset.train.labels[chosen], validation, validation_split, sampling)
        channels = transform.choose_channels(dataset.image_shape[-1], color, gray_weights, scaling)
        plain = replace(channels, reverse=False, repeat=1)
        statistics = measure(dataset.train.images, train, plain)
        seen = transform.scaled(channels, scaling, statistics)
        tested = replace(channels, reverse=False) if validation_preprocessing == "raw" else seen
        parts = {
            "training": (dataset.train, train),
            **({"validation": (dataset.train, held_out)} if len(held_out) else {}),
            "test": (dataset.test, np.arange(len(dataset.test))),
        }
        files.write_npz(folder / "splits.npz", train=train, validation=held_out, test=parts["test"][1])
        description = {
            "dataset": dataset.name,
            "task": task,
            "positive_class": None if positive is None else dataset.class_names[positive],
            "validation_source": validation,
            "validation_sampling": sampling,
            "duplicates": splits.count_duplicates({name: (part.images, at) for name, (part, at) in parts.items()}),
            "statistics": statistics,
            "train_transform": asdict(seen),
            "test_transform": asdict(tested),
        }
        files.write_json(folder / _DESCRIPTION, description)
    return _open(dataset, folder)


def open_prepared(inputs: Mapping[str, str]) -> Prepared:
    """What `prepare` stored, from the folders of the load and preprocess stages."""
    return _open(open_dataset(inputs["load"]), Path(inputs["preprocess"]))


def measure(images: np.ndarray, indices: np.ndarray, channels: Transform) -> dict[str, Any]:
    """Minimum, maximum, mean and standard deviation of each channel over the images at `indices`."""
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


def _positive_label(dataset: Dataset, positive_class: str) -> int:
    """The label to find: the first class where none is named, and where the data are the synthetic fallback."""
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


def _chosen(split: Split, positive: int | None, examples_per_side: int) -> np.ndarray:
    """Indices of the images that may be trained on, in the order of the data."""
    if positive is None:
        return np.arange(len(split), dtype=np.int64)
    most = examples_per_side or len(split)
    sides = [np.flatnonzero(side)[:most] for side in (split.labels == positive, split.labels != positive)]
    if not all(len(side) for side in sides):
        raise ValueError("The training images show only one side of the binary task; raise max_train_examples.")
    return np.sort(np.concatenate(sides)).astype(np.int64)


def _parted(
    chosen: np.ndarray, labels: np.ndarray, validation: str, share: float, sampling: str
) -> tuple[np.ndarray, np.ndarray]:
    """(train, held out) indices of the training images; `labels` are those of `chosen`."""
    if validation != "split":
        return chosen, np.empty(0, np.int64)
    kept = splits.last_share(len(chosen), share)
    if not 0 < kept < len(chosen):
        raise ValueError(
            f"A validation split of {share:g} leaves {kept} of {len(chosen)} images to train on; change "
            "validation_split or raise max_train_examples."
        )
    if sampling == "stratified":
        train, held_out = splits.stratified(labels, kept)
        return chosen[train], chosen[held_out]
    return chosen[:kept], chosen[kept:]


# ---------------------------------------------------------------- opening


def _open(dataset: Dataset, folder: Path) -> Prepared:
    stored = files.read_json(folder / _DESCRIPTION)
    with np.load(folder / "splits.npz") as splits:
        train, validation, test = splits["train"], splits["validation"], splits["test"]
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


def _task_labels(dataset: Dataset, positive: str | None) -> tuple[tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
    """Names and labels of the task; a binary task has label 1 for the class to find and 0 for every other."""
    labels = dataset.train.labels, dataset.test.labels
    if positive is None:
        return dataset.class_names, labels
    wanted = dataset.class_names.index(positive)
    train, test = ((one == wanted).astype(np.int64) for one in labels)
    return (f"not {positive}", positive), (train, test)
