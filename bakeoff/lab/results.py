"""Read results.csv, decide which rows may be ranked, and gather what finished variants stored for the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bakeoff.lab import files, statistics
from bakeoff.lab.ranking import MINIMUM_SHOWN, is_cut

SYNTHETIC = "shapes10"  # the synthetic data set, used where the one named cannot be had

HISTORY = ("variant", "training", "epoch", "train_accuracy", "validation_accuracy")  # what curves need

# Name of a row -> stage -> folder; a variant's later trainings are named after it and their replicate: ann, ann-1, ...
Folders = Mapping[str, Mapping[str, str]]

TEXTS = (
    *("variant", "title", "family", "source", "status", "task", "dataset", "weights", "limited", "assumed"),
    *("validation_source", "message", "hypothesis_of"),
)
NUMBERS = (
    *("replicate", "seed", "parameters", "train_images", "epochs", "optimizer_steps", "train_accuracy"),
    *("validation_accuracy", "test_images", "test_accuracy", "test_loss", "accuracy_low", "accuracy_high"),
    *("top_k_accuracy", "balanced_accuracy", "expected_calibration_error", "train_seconds", "search_seconds"),
    *("milliseconds_per_image", "gflop_per_image", "published_test_accuracy", "unseen_classes", "diverged_epoch"),
    *("threads", "baseline_accuracy"),
)
MOST_COMPARED = 50  # variants


@dataclass(frozen=True)
class Results:
    """The rows of results.csv, split by status.

    rows: all, with `folder`, the name of a row in Folders, and `label`, its name for readers. trainings: the rows that
    may be ranked. ranked: their means, one row a variant, best first, with `rank`, `replicates` and `spread` (standard
    deviation of the accuracy over replicates, NaN for one). unranked: finished but not to be ranked, with `reason`.
    failed: failed and blocked rows with their `message`.
    """

    rows: pd.DataFrame
    trainings: pd.DataFrame
    ranked: pd.DataFrame
    unranked: pd.DataFrame
    failed: pd.DataFrame


def read(path: str | Path) -> Results:
    """Read results.csv and split its rows by status; columns that it lacks are there, and empty."""
    try:
        stored = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        stored = pd.DataFrame(columns=["variant", "status"])
    return split_by_status(complete(stored))


def leading(results: Results, most: int = MOST_COMPARED) -> Results:
    """The first `most` ranked variants, with unranked ones up to that many: what figures and pairs are of.

    Pairs grow with the square of the variants, and a figure of hundreds shows nothing.
    """
    ranked = results.ranked.head(most)
    unranked = results.unranked.head(most - len(ranked))
    names = {*ranked["variant"], *unranked["variant"]}
    rows, trainings = (each[each["variant"].isin(names)] for each in (results.rows, results.trainings))
    return Results(rows, trainings, ranked, unranked, results.failed)


def complete(stored: pd.DataFrame) -> pd.DataFrame:
    """`stored` with every known column: texts "" and numbers NaN where there is nothing; others are kept.

    Two columns are added: see `rows` of Results.
    """
    if "variant" not in stored or "status" not in stored:
        raise ValueError("results.csv needs at least the columns variant and status; rebuild the report")
    rows = stored.copy()
    for name in TEXTS:
        rows[name] = rows[name].fillna("").astype(str).str.strip() if name in rows else ""
    for name in NUMBERS:
        rows[name] = pd.to_numeric(rows[name], errors="coerce") if name in rows else np.nan
    rows["title"] = rows["title"].where(rows["title"] != "", rows["variant"])
    each = list(rows[["variant", "replicate", "seed"]].itertuples(index=False))
    rows["folder"] = [f"{name}-{replicate:.0f}" if replicate > 0 else name for name, replicate, _ in each]
    rows["label"] = [f"{name} (seed {seed:.0f})" if replicate > 0 else name for name, replicate, seed in each]
    return rows.reset_index(drop=True)


def split_by_status(rows: pd.DataFrame) -> Results:
    """Split completed rows into ranked, unranked and failed; what is ranked was tested on the same images."""
    finished = rows[rows["status"] == "ok"]
    reasons = {at: reasons_not_to_rank(row) for at, row in finished.iterrows()}
    largest = _largest_group(finished.loc[[at for at in finished.index if not reasons[at]]])
    for at, images in zip(finished.index, _test_sets(finished), strict=True):
        if largest[1] and images[1] and images != largest:
            reasons[at] += _other_images(finished.loc[at], largest)
    unranked = finished.loc[[at for at in finished.index if reasons[at]]]
    trainings, failed = finished.drop(index=unranked.index), rows[rows["status"] != "ok"]
    unranked = unranked.assign(reason=["; ".join(reasons[at]) for at in unranked.index])
    return Results(rows, trainings, rank(trainings), unranked.reset_index(drop=True), failed.reset_index(drop=True))


def reasons_not_to_rank(row: pd.Series) -> list[str]:
    """Why no conclusion may be drawn from a finished row, in words; empty when one may."""
    if row["task"] == "labels_only":
        return ["its labels are not the data's classes, so it has no accuracy"]
    if not np.isnan(row["diverged_epoch"]):
        return [f"its training diverged at epoch {row['diverged_epoch']:.0f}, so its predictions are not numbers"]
    reasons = [f"a hypothesis about {row['hypothesis_of']}"] if row["hypothesis_of"] else []
    if row["task"] == "binary":
        reasons.append("another task: one class against all others")
    elif row["task"] not in ("classes", ""):
        reasons.append(f"another task: {row['task']}")
    if row["weights"] == "random":
        reasons.append("random weights in place of ImageNet's")
    reasons += _too_short(row) or _at_chance(row)
    if row["unseen_classes"] > 0:
        reasons.append("its training images lack classes that its validation or test images show")
    if np.isnan(row["test_accuracy"]) or not row["test_images"] > 0:
        reasons.append("no test accuracy")
    return reasons


def _too_short(row: pd.Series) -> list[str]:
    """Why a training is too short to rank; a schedule that was kept whole never is, whatever its batch size."""
    if not is_cut(row["limited"]):
        return []
    shown = row["train_images"] * row["epochs"]
    if np.isnan(shown):
        return ["a limited run, its number of training images not known"]
    if shown >= MINIMUM_SHOWN:
        return []
    return [f"{shown:.0f} training images in all its epochs, fewer than {MINIMUM_SHOWN}"]


def _at_chance(row: pd.Series) -> list[str]:
    """Why a limited training shows nothing, however long; of a whole schedule, an accuracy at chance is a finding."""
    if not is_cut(row["limited"]) or not row["accuracy_low"] <= row["baseline_accuracy"]:
        return []
    always = f"that of the most frequent class ({row['baseline_accuracy']:.3f})"
    return [f"its test accuracy ({row['test_accuracy']:.3f}) is not significantly above {always}"]


def _test_sets(rows: pd.DataFrame) -> list[tuple[str, int]]:
    return [(name, int(n)) for name, n in zip(rows["dataset"], rows["test_images"].fillna(0), strict=True)]


def _largest_group(rows: pd.DataFrame) -> tuple[str, int]:
    """The (dataset, number of test images) that most variants share; of equals, that with more images."""
    sets = pd.DataFrame({"set": _test_sets(rows), "variant": rows["variant"].to_numpy()}).drop_duplicates()
    counts = sets["set"].value_counts().to_dict()
    return max(counts, key=lambda each: (counts[each], each[1], each[0]), default=("", 0))


def _other_images(row: pd.Series, largest: tuple[str, int]) -> list[str]:
    own, (data, images) = f"tested on {int(row['test_images'])} images", largest
    if row["dataset"] == data:
        return [f"{own}, the ranking on {images}"]
    return [f"{own} of {row['dataset'] or 'unnamed data'}, the ranking on {images} of {data or 'unnamed data'}"]


def rank(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a variant, means over its replicates, best test accuracy first (of equals, the cheaper training)."""
    means = rows.groupby("variant", sort=False)[list(NUMBERS)].mean()
    ranked = rows.drop_duplicates("variant").set_index("variant")
    ranked[list(NUMBERS)] = means
    accuracies = rows.groupby("variant", sort=False)["test_accuracy"]
    ranked["replicates"], ranked["spread"] = accuracies.size().astype(int), accuracies.std()
    bounds = [statistics.accuracy_interval(each, int(ranked.loc[name, "test_images"])) for name, each in accuracies]
    ranked["accuracy_low"] = [low for low, _ in bounds]
    ranked["accuracy_high"] = [high for _, high in bounds]
    order = ["test_accuracy", "train_seconds", "variant"]
    ranked = ranked.reset_index().sort_values(order, ascending=[False, True, True], ignore_index=True)
    ranked["rank"] = ranked["test_accuracy"].rank(method="min", ascending=False).astype(int)
    return ranked


def of_equal_threads(rows: pd.DataFrame) -> pd.Series:
    """Which rows (bool) were trained on as many threads as most of them, so that their seconds compare.

    All of them where none tells its threads.
    """
    threads = rows["threads"]
    return threads == threads.mode().max() if threads.notna().any() else threads.isna()


def stored(folders: Folders, stage: str, name: str) -> dict[str, Path]:
    """The file `name` of a stage, for each row that has one."""
    paths = {row: Path(stages[stage]) / name for row, stages in folders.items() if stages.get(stage)}
    return {row: path for row, path in paths.items() if path.exists()}


def histories(results: Results, folders: Folders) -> pd.DataFrame:
    """train/history.csv of every training, one below the other, with `variant` and the number of its `training`."""
    paths = stored(folders, "train", "history.csv")
    rows = results.rows[results.rows["folder"].isin(list(paths))]
    named = zip(rows["variant"], rows.groupby("variant").cumcount(), rows["folder"], strict=True)
    every = [pd.read_csv(paths[folder]).assign(variant=name, training=number) for name, number, folder in named]
    return pd.concat(every, ignore_index=True) if every else pd.DataFrame(columns=HISTORY)


def recalls(results: Results, folders: Folders) -> pd.DataFrame:
    """Recall of every class (columns) by ranked variant (rows, best first), the mean over its trainings.

    NaN where no test image is of a class. Only variants with the same class names as most are kept; empty when none
    has a report of its classes.
    """
    found = stored(folders, "evaluate", "metrics.json")
    rows = {}
    for folder in (each for each in results.trainings["folder"] if each in found):
        report = files.read_json(found[folder])["per_class"]
        rows[folder] = {row["class_name"]: row["recall"] if row["support"] else np.nan for row in report}
    names = pd.Series([tuple(row) for row in rows.values() if row], dtype=object).value_counts()
    if names.empty:
        return pd.DataFrame()
    kept = {folder: row for folder, row in rows.items() if tuple(row) == names.index[0]}
    of_variant = results.trainings.set_index("folder")["variant"]
    means = pd.DataFrame(kept).T.groupby(of_variant.reindex(list(kept)).to_numpy()).mean()
    return means.loc[[each for each in results.ranked["variant"] if each in means.index], list(names.index[0])]
