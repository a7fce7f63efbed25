"""The labels of images of one's own: one class an image, every class with training images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_SHOWN = 5  # names in a message


def one_each(labels: np.ndarray, what: str) -> np.ndarray:
    """Labels as (n,) int64. Raises ValueError where they are not one whole number of at least 0 an image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"{what} has the shape {labels.shape}, several labels an image; it must hold the number of one class an "
            "image (numpy.argmax(labels, axis=1) makes it of one-hot labels)."
        )
    if labels.dtype.kind not in "iub" and not (labels.dtype.kind == "f" and np.all(labels == np.round(labels))):
        raise ValueError(f"{what} holds {labels.dtype}; it must hold the number of one class an image.")
    whole = labels.astype(np.int64)
    if missing := int((whole < 0).sum()):
        raise ValueError(
            f"{what} has no label for {missing} of {len(whole)} images (-1); label them, or leave them out."
        )
    return whole


def numbered(
    labels: Mapping[str, np.ndarray], names: Sequence[str] | None, what: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The classes' names, and the labels of each role numbered by their place among these.

    Without `names`, the numbers that are among the training labels are the names. Raises ValueError for fewer than two
    classes, for one without training images and for a name that two have.
    """
    train = labels["train"]
    if names is None:
        numbers = np.unique(train)
        unknown = [str(number) for role in labels for number in np.setdiff1d(labels[role], numbers)]
        names, labels = (
            [str(n) for n in numbers],
            {role: np.searchsorted(numbers, each) for role, each in labels.items()},
        )
        if unknown:
            raise ValueError(_only_tested(unknown, what))
    highest = max(int(each.max(initial=0)) for each in labels.values())
    if highest >= len(names):
        raise ValueError(f"{what} names {len(names)} classes, and has the label {highest}; name every class.")
    check(names, labels, what)
    return tuple(names), dict(labels)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in order, the numbers in them as numbers: 2 before 10."""
    return sorted(names, key=lambda name: ([_number(part) for part in re.split(r"([0-9]+)", name)], name))


def _number(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (0, part)


def check(names: Sequence[str], labels: Mapping[str, np.ndarray], what: str) -> None:
    """Raise ValueError for fewer than two classes, for one without training images and for a name that two have."""
    if len(names) < 2:
        count = "one class only" if names else "no class"
        raise ValueError(f"{what} has {count}, and there is nothing to classify; add images of a second class.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{what} has two classes of the name {twice[0]!r}; give each its own.")
    counts = {role: np.bincount(each, minlength=len(names)) for role, each in labels.items()}
    empty = [name for name, count in zip(names, counts["train"], strict=True) if not count]
    tested = [name for name, count in zip(names, counts.get("test", ()), strict=False) if count and name in empty]
    if tested:
        raise ValueError(_only_tested(tested, what))
    if empty:
        raise ValueError(f"{what} has no training image of {_classes(empty)}; add some, or take that class away.")


def _only_tested(names: Sequence[str], what: str) -> str:
    return f"{what} has test images of {_classes(names)} and no training image; add some, or remove the test images."


def _classes(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"the class{'es' if len(names) > 1 else ''} {', '.join(repr(str(name)) for name in names[:_SHOWN])}{more}"
