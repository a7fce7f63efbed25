"""Read results.csv, decide which rows may be ranked, and gather what finished variants stored for the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bakeoff.lab import files, statistics

MINIMUM_STEPS = 300  # optimizer steps; a network that took fewer says little about its kind
STAND_IN = "shapes10"  # drawn pictures, used where the data set named cannot be had
SIGNIFICANCE = 0.05
ROUNDING = 1e-4  # of an accuracy in results.csv against the one in the predictions

Folders = Mapping[str, Mapping[str, str]]  # variant -> stage -> folder

TEXTS = (
    *("variant", "title", "family", "source", "status", "task", "dataset", "weights", "limited", "assumed"),
    *("validation_source", "message"),
)
NUMBERS = (
    *("replicate", "seed", "parameters", "train_images", "epochs", "optimizer_steps", "train_accuracy"),
    *("validation_accuracy", "test_images", "test_accuracy", "test_loss", "accuracy_low", "accuracy_high"),
    *("top_k_accuracy", "balanced_accuracy", "expected_calibration_error", "train_seconds", "search_seconds"),
    *("milliseconds_per_image", "gflop_per_image", "published_test_accuracy"),
)


@dataclass(frozen=True)
class Results:
    """The rows of results.csv, sorted apart.

    rows: all, as read. ranked: one row a variant, best first, with `rank`, `replicates` and `spread` (standard
    deviation of the accuracy over replicates, NaN for one). below: finished but not to be ranked, with `reason`.
    failed: failed and blocked rows with their `message`.
    """

    rows: pd.DataFrame
    ranked: pd.DataFrame
    below: pd.DataFrame
    failed: pd.DataFrame


def read(path: str | Path) -> Results:
    """Read results.csv and sort its rows apart; columns that it lacks are there, and empty."""
    try:
        stored = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        stored = pd.DataFrame(columns=["variant", "status"])
    return sort_apart(complete(stored))


def complete(stored: pd.DataFrame) -> pd.DataFrame:
    """`stored` with every known column: texts "" and numbers NaN where there is nothing; others are kept."""
    if "variant" not in stored or "status" not in stored:
        raise ValueError("results.csv needs at least the columns variant and status; make the report again")
    rows = stored.copy()
    for name in TEXTS:
        rows[name] = rows[name].fillna("").astype(str).str.strip() if name in rows else ""
    for name in NUMBERS:
        rows[name] = pd.to_numeric(rows[name], errors="coerce") if name in rows else np.nan
    rows["title"] = rows["title"].where(rows["title"] != "", rows["variant"])
    return rows.reset_index(drop=True)


def sort_apart(rows: pd.DataFrame) -> Results:
    """Split completed rows into ranked, below and failed; what is ranked was tested on the same images."""
    finished = rows[rows["status"] == "ok"]
    reasons = {at: reasons_not_to_rank(row) for at, row in finished.iterrows()}
    fit = finished.loc[[at for at in finished.index if not reasons[at]]]
    largest = _largest_group(fit)
    others = [at for at, images in zip(fit.index, _test_sets(fit), strict=True) if images != largest]
    reasons |= {at: _other_images(fit.loc[at], largest) for at in others}
    below = finished.loc[[at for at in finished.index if reasons[at]]]
    below = below.assign(reason=["; ".join(reasons[at]) for at in below.index])
    ranked = rank(fit.drop(index=others))
    return Results(rows, ranked, below.reset_index(drop=True), rows[rows["status"] != "ok"].reset_index(drop=True))


def reasons_not_to_rank(row: pd.Series) -> list[str]:
    """Why no conclusion may be drawn from a finished row, in words; empty when one may."""
    if row["task"] == "labels_only":
        return ["its labels are not the data's classes, so it has no accuracy"]
    reasons = []
    if row["task"] == "binary":
        reasons.append("another task: one class against all others")
    elif row["task"] not in ("classes", ""):
        reasons.append(f"another task: {row['task']}")
    if row["weights"] == "random":
        reasons.append("random weights in place of ImageNet's")
    if np.isnan(row["optimizer_steps"]):
        reasons.append("its number of optimizer steps is not known")
    elif row["optimizer_steps"] < MINIMUM_STEPS:
        reasons.append(f"{row['optimizer_steps']:.0f} optimizer steps, fewer than {MINIMUM_STEPS}")
    if np.isnan(row["test_accuracy"]) or not row["test_images"] > 0:
        reasons.append("no test accuracy")
    return reasons


def _test_sets(rows: pd.DataFrame) -> list[tuple[str, int]]:
    return [(name, int(n)) for name, n in zip(rows["dataset"], rows["test_images"], strict=True)]


def _largest_group(rows: pd.DataFrame) -> tuple[str, int]:
    """The (dataset, number of test images) that most variants share; of equals, that with more images."""
    sets = pd.DataFrame({"set": _test_sets(rows), "variant": rows["variant"].to_numpy()}).drop_duplicates()
    counts = sets["set"].value_counts().to_dict()
    return max(counts, key=lambda each: (counts[each], each[1], each[0]), default=("", 0))


def _other_images(row: pd.Series, largest: tuple[str, int]) -> list[str]:
    own = f"{int(row['test_images'])} images of {row['dataset'] or 'unnamed data'}"
    return [f"tested on {own}, the ranking is on {largest[1]} of {largest[0] or 'unnamed data'}"]


def rank(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a variant, means over its replicates, best test accuracy first (of equals, the cheaper training)."""
    means = rows.groupby("variant", sort=False)[list(NUMBERS)].mean()
    ranked = rows.drop_duplicates("variant").set_index("variant")
    ranked[list(NUMBERS)] = means
    accuracies = rows.groupby("variant", sort=False)["test_accuracy"]
    ranked["replicates"], ranked["spread"] = accuracies.size().astype(int), accuracies.std()
    bounds = [_interval(row["test_accuracy"], row["test_images"]) for _, row in ranked.iterrows()]
    ranked["accuracy_low"] = [low for low, _ in bounds]
    ranked["accuracy_high"] = [high for _, high in bounds]
    order = ["test_accuracy", "train_seconds", "variant"]
    ranked = ranked.reset_index().sort_values(order, ascending=[False, True, True], ignore_index=True)
    ranked["rank"] = ranked["test_accuracy"].rank(method="min", ascending=False).astype(int)
    return ranked


def _interval(accuracy: float, images: float) -> tuple[float, float]:
    return statistics.wilson_interval(min(accuracy * images, images), int(images))


def stored(folders: Folders, stage: str, name: str) -> dict[str, Path]:
    """The file `name` of a stage, for each variant that has one."""
    paths = {variant: Path(stages[stage]) / name for variant, stages in folders.items() if stages.get(stage)}
    return {variant: path for variant, path in paths.items() if path.exists()}


def histories(folders: Folders) -> dict[str, pd.DataFrame]:
    """train/history.csv of each variant that trained at least an epoch."""
    read = {variant: pd.read_csv(path) for variant, path in stored(folders, "train", "history.csv").items()}
    return {variant: history for variant, history in read.items() if len(history)}


def recalls(folders: Folders, variants: list[str]) -> pd.DataFrame:
    """Recall of every class (columns) by variant (rows, in the order given); NaN where no test image is of a class.

    Only variants with the same class names as most are kept; empty when none has a report of its classes.
    """
    found = stored(folders, "evaluate", "metrics.json")
    reports = {each: files.read_json(found[each])["per_class"] for each in variants if each in found}
    names = {each: tuple(row["class_name"] for row in report) for each, report in reports.items() if report}
    if not names:
        return pd.DataFrame()
    counts = pd.Series(list(names.values())).value_counts()
    kept = [each for each in names if names[each] == counts.index[0]]
    rows = [[row["recall"] if row["support"] else np.nan for row in reports[each]] for each in kept]
    return pd.DataFrame(rows, index=kept, columns=list(counts.index[0]), dtype=float)


def correctness(folders: Folders, variants: list[str]) -> pd.DataFrame:
    """Which images (rows, by id) each variant (columns) got right, for those with the ids of the first one given."""
    found = stored(folders, "evaluate", "predictions.npz")
    right: dict[str, pd.Series] = {}
    for variant in (each for each in variants if each in found):
        with np.load(found[variant]) as kept:
            hits = pd.Series(kept["probabilities"].argmax(axis=1) == kept["labels"], index=kept["ids"])
        if not right or hits.index.equals(next(iter(right.values())).index):
            right[variant] = hits
    return pd.DataFrame(right)


def against_best(ranked: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """How much the first ranked row exceeds each other one: difference, low, high, p_value, corrected, told_apart.

    Paired on the same images (column `paired`) where the predictions of single trainings are in `right`; between the
    accuracies alone otherwise, which is the wider interval. `corrected` is Holm's p value over all these pairs.
    """
    columns = ["variant", "difference", "low", "high", "p_value", "paired", "corrected", "told_apart"]
    if len(ranked) < 2:
        return pd.DataFrame(columns=columns)
    best, others = ranked.iloc[0], ranked.iloc[1:]
    differences = [_difference(best, other, right) for _, other in others.iterrows()]
    frame = pd.DataFrame([vars(difference) for difference in differences]).assign(variant=list(others["variant"]))
    frame["corrected"] = statistics.holm(frame["p_value"].to_numpy())
    frame["told_apart"] = frame["corrected"] < SIGNIFICANCE
    return frame[columns]


def _difference(best: pd.Series, other: pd.Series, right: pd.DataFrame) -> statistics.Difference:
    if _has_predictions(best, right) and _has_predictions(other, right):
        return statistics.paired_difference(right[best["variant"]].to_numpy(), right[other["variant"]].to_numpy())
    return statistics.unpaired_difference(best["test_accuracy"], other["test_accuracy"], int(best["test_images"]))


def _has_predictions(row: pd.Series, right: pd.DataFrame) -> bool:
    """Whether `right` holds the one training that the row's accuracy is of."""
    if row["replicates"] != 1 or row["variant"] not in right:
        return False
    return abs(right[row["variant"]].mean() - row["test_accuracy"]) < ROUNDING
