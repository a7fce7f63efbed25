"""Our figures with their intervals, by the lab's own statistics: the audit and the tables cannot disagree.

The one place outside the notebooks that imports from `bakeoff.lab`: modules that know arrays and files of predictions,
and no network. They are imported where they are needed, since a run without such a claim has no use for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from bakeoff.claims.evidence import Run, UntestedError

if TYPE_CHECKING:
    from bakeoff.lab.differences import Difference
    from bakeoff.lab.tested import Tested

Bounds = tuple[float, float]
FAR_LOSS = 1e-3  # share by which a stored loss may differ from that of the stored predictions, which belong to it


@dataclass(frozen=True)
class Measured:
    """A figure of ours with its 95 % interval, and what that rests on; no bounds where nothing tells its variance."""

    value: float
    bounds: Bounds | None = None
    over: str = ""


def over_seeds(values: Sequence[float]) -> Measured:
    """The mean of a figure of the training; from three seeds on with the t interval over them."""
    if len(values) < 2:
        return Measured(values[0])
    import numpy as np

    from bakeoff.lab.statistics import seeds_interval

    bounds = seeds_interval(np.array(values))
    return Measured(fmean(values), bounds, f"{len(values)} seeds" if bounds else "")


def test_accuracy(runs: Sequence[Run]) -> Measured:
    """The mean test accuracy with Wilson's interval; from three seeds on with that of the seeds joined to it."""
    import numpy as np

    from bakeoff.lab.statistics import accuracy_interval

    values, images = [run.number("test_accuracy") for run in runs], _test_images(runs)
    return Measured(fmean(values), accuracy_interval(np.array(values), images), _over(images, runs))


def binary_accuracy(runs: Sequence[Run]) -> Measured:
    """What Keras' `binary_accuracy` would be: the share of all outputs, each above a half or not, that are right.

    From the predicted class and its probability: of a softmax, no other output can be above a half. An image whose
    class is predicted with more costs nothing, one whose class is predicted with less one output, and a wrong class
    with more two.
    """
    import numpy as np

    found = _tested(runs).predictions
    if found is None:
        raise UntestedError(f"the predictions of {runs[0].row['variant']} are not stored")
    from bakeoff.lab.statistics import mean_interval

    wrong = np.where(found.confidence > 0.5, 2 * ~found.correct, 1)
    right = 1 - wrong / len(np.unique(found.labels))
    mean = float(right.mean())
    interval = mean_interval(right) if np.ptp(right) else (mean, mean)  # a short training is unsure of every image
    return Measured(mean, interval, _over(len(found.ids), runs))


def first_predicted(run: Run, images: int) -> tuple[list[int], list[int]]:
    """The true and the predicted classes of the first test images, in the order of their ids."""
    found = _tested([run]).predictions
    if found is None:
        raise UntestedError(f"the predictions of {run.row['variant']} are not stored")
    return found.labels[:images].tolist(), found.predicted[0][:images].tolist()


def test_loss(runs: Sequence[Run]) -> Measured:
    """The mean test loss with the t interval over the images, where the predictions are stored; seeds as above.

    Without predictions it is a figure like those of the training.
    """
    from bakeoff.lab.statistics import mean_interval
    from bakeoff.lab.tested import read_losses

    values = [run.number("test_loss") for run in runs]
    paths = [_predictions(run) for run in runs]
    kept = runs[0].file("evaluate", "metrics.json") if all(paths) else {}
    smoothing = float(kept.get("label_smoothing") or 0)
    found = read_losses(paths, str(kept["loss_name"]), smoothing) if kept.get("loss_name") else None
    if found is None or any(abs(a - b) > FAR_LOSS * abs(b) for a, b in zip(found.mean(axis=1), values, strict=True)):
        return over_seeds(values)
    return Measured(fmean(values), mean_interval(found), _over(found.shape[1], runs))


def accuracy_difference(first: Sequence[Run], second: Sequence[Run]) -> Measured:
    """By how much the mean test accuracy of the first variant exceeds the second's: as every table compares two."""
    found = compare_accuracies(first, second)
    return Measured(found.difference, (found.low, found.high), f"{found.test}, p = {found.p_value:.2g}")


def compare_accuracies(first: Sequence[Run], second: Sequence[Run]) -> Difference:
    """The same with the p value of "no difference". Raises UntestedError where they were trained on other backends."""
    names = [
        (str(each[0].row["variant"]), {str(run.row.get("backend") or "") for run in each}) for each in (first, second)
    ]
    if len(names[0][1] | names[1][1]) > 1:
        words = ", ".join(f"{name} on {' and '.join(sorted(of)) or 'one not on record'}" for name, of in names)
        raise UntestedError(f"they were trained on other backends ({words}), so they are not compared")
    from bakeoff.lab.tested import compare

    return compare(_tested(first), _tested(second))


def seconds_difference(first: Sequence[float], second: Sequence[float], what: str = "trainings") -> Measured:
    """By what share of the faster one's time the first takes longer; with Welch's interval from three of each on.

    Equal seconds, which no clock measures, have no variance and so no interval.
    """
    faster = min(fmean(first), fmean(second))
    share = (fmean(first) - fmean(second)) / faster
    from bakeoff.lab.statistics import SEEDS

    if min(len(first), len(second)) < SEEDS or min(first) == max(first) or min(second) == max(second):
        return Measured(share)
    from scipy.stats import ttest_ind

    found = ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval()
    over = f"Welch's t test of {len(first)} and {len(second)} {what}, p = {found.pvalue:.2g}"
    return Measured(share, (float(low) / faster, float(high) / faster), over)


def difference_of_best(first: float, second: float, images: int, comparisons: int) -> Measured:
    """By how much one test accuracy exceeds another where each is the largest of many: so many comparisons.

    The largest of many is too large by luck (the winner's curse), so the interval is widened by Bonferroni's method.
    """
    from bakeoff.lab.differences import unpaired_difference
    from bakeoff.lab.statistics import LEVEL

    found = unpaired_difference(first, second, images, 1 - (1 - LEVEL) / comparisons)
    return Measured(found.difference, (found.low, found.high), f"{images} test images, {comparisons} comparisons")


def mean_of(values: Sequence[float], what: str) -> Measured:
    """The mean of differences with its t interval; the whole line for a single one."""
    import numpy as np

    from bakeoff.lab.statistics import mean_interval

    bounds = mean_interval(np.array([values])) if len(values) > 1 else (-1.0, 1.0)
    return Measured(fmean(values), bounds, f"{len(values)} {what}")


def overfitting_steps() -> int:
    """From how many optimizer steps on a gap tells whether a network overfits, for pages and audit alike."""
    from bakeoff.lab.overfitting import MINIMUM_STEPS

    return MINIMUM_STEPS


def _tested(runs: Sequence[Run]) -> Tested:
    import numpy as np

    from bakeoff.lab.tested import Tested, read_predictions

    accuracies = np.array([run.number("test_accuracy") for run in runs])
    predictions = read_predictions([_predictions(run) for run in runs], accuracies)
    return Tested(accuracies, _test_images(runs), predictions)


def _test_images(runs: Sequence[Run]) -> int:
    images = int(runs[0].number("test_images"))
    if images < 1:
        raise UntestedError(f"{runs[0].row['variant']} was tested on no image")
    return images


def _predictions(run: Run) -> Path | None:
    path = Path(run.folders.get("evaluate", "")) / "predictions.npz"
    return path if "evaluate" in run.folders and path.is_file() else None


def _over(images: int, runs: Sequence[Run]) -> str:
    from bakeoff.lab.statistics import SEEDS

    return f"{images} test images" + (f" and {len(runs)} seeds" if len(runs) >= SEEDS else "")
